// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/help.h"

#include <stdio.h>

void help_reply(struct resp_writer *w, const char *command, const char *const *lines)
{
    size_t count = 0;
    while (lines[count] != NULL) {
        count++;
    }
    char heading[128];
    (void)snprintf(heading, sizeof(heading),
                   "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", command);
    resp_array(w, count + 3);
    resp_simple(w, heading);
    for (size_t i = 0; i < count; i++) {
        resp_simple(w, lines[i]);
    }
    resp_simple(w, "HELP");
    resp_simple(w, "    Prints this help.");
}

void help_unknown(struct resp_writer *w, const char *command, struct slice subcommand)
{
    resp_errorf(w, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                (int)MIN(subcommand.len, (size_t)128), subcommand.ptr, command);
}
