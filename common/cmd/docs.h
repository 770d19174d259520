// SPDX-License-Identifier: BSD-3-Clause
/* What COMMAND DOCS tells about a command: purpose, complexity, arguments. The data is docs.def.
 * Pure. */
#pragma once

#include "common/cmd/command.h"

struct resp_writer;

/* The command's name and its documentation as a map: two elements of the reply's outer map. */
void docs_reply(struct resp_writer *w, const struct command *c);
