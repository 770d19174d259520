// SPDX-License-Identifier: BSD-3-Clause
/* What call.c and cmd_tx.c do with a session's transaction. */
#pragma once

#include "node/cmd/session.h"

struct call;

/* Copies the command to the end of the queue. */
void session_queue(struct session *s, const struct command *cmd, const struct slice *argv,
                   size_t argc);
/* Ends the transaction and answers EXEC with why it was not run. `reason` begins with its code. */
void tx_abort(struct call *c, const char *reason);
