// SPDX-License-Identifier: BSD-3-Clause
/* The reply to a container's HELP: a heading with the command's name, then the lines given, then
 * what HELP itself is. */
#pragma once

#include "common/resp/write.h"

/* `lines` ends with NULL; "GET <pattern>" and, indented by four, what it does. */
void help_reply(struct resp_writer *w, const char *command, const char *const *lines);
/* "ERR unknown subcommand 'x'. Try CONFIG HELP." */
void help_unknown(struct resp_writer *w, const char *command, struct slice subcommand);
