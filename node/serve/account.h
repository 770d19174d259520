// SPDX-License-Identifier: BSD-3-Clause
/* What each command cost and how it ended: statistics, slow log, latency events, MONITOR.
 *
 * Time is read once between two commands (common/io/ticks.h): the end of one is the start of the
 * next, so a command's time includes the little that dispatch did for it. The node's thread. */
#pragma once

#include "node/cmd/call.h"

#include "common/base/str.h"

struct server;

/* Hangs the hooks into server->table. */
void account_init(struct server *s);
void account_fini(struct server *s);
/* A command was answered with an error instead of being run; cmd may be NULL. `code` is the error's
 * first word. */
void account_rejected(struct server *s, const struct command *cmd, const char *code);
/* The same of one that a script called: a proxy, which counts the rest itself, asks for these. */
void account_rejected_in_script(struct server *s, const struct command *cmd, const char *code);
/* A command that waited was answered without being run again. */
void account_waited(struct server *s, const struct command *cmd, const struct resp_writer *w);
/* An error reply of which nobody else tells. */
void account_error(struct server *s, const char *code);
/* The arguments as slow log and MONITOR may show them: argv itself, or `room` with secrets
 * replaced, of which the first `count` are filled in. */
const struct slice *account_shown(const struct call *k, struct slice *room, size_t count);
/* The active expiry took so long. */
void account_expire_cycle(struct server *s, uint64_t ns);
/* After CONFIG SET. */
void account_settings_changed(struct server *s);
/* CONFIG RESETSTAT */
void account_reset(struct server *s);
