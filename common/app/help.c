// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/help.h"

#include "common/resp/errors.h"

void help_unknown(struct resp_writer *w, const char *command, struct slice subcommand)
{
    resp_errorf(w, "ERR unknown subcommand '%.*s'. Try %s HELP.", ARG_PRINT(subcommand), command);
}
