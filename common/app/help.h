// SPDX-License-Identifier: BSD-3-Clause
/* What a container says of a word that it does not know. Its HELP: common/cmd/reply.h. */
#pragma once

#include "common/resp/write.h"

/* "ERR unknown subcommand 'x'. Try CONFIG HELP." */
void help_unknown(struct resp_writer *w, const char *command, struct slice subcommand);
