// SPDX-License-Identifier: BSD-3-Clause
/* What proxies are told while a slow script runs here, and what their lanes may still say.
 *
 * A lane carries the requests of many clients; behind the script, or read together with it, nothing
 * of them could be answered before its end. So a shared lane that the script stands on, or whose
 * bytes are just being read, is done with: it is told how far its commands have come, what it sent
 * behind that is never run, and its connection ends when the script's reply is written. The proxy
 * answers BUSY for what was behind, and goes on with a new lane. All other lanes are told that this
 * node is busy, again and again, so that their proxies know silence from death.
 *
 *   > busy <number> <keyless> <text>    number: the last that is run; -1: all are answered
 *   > busy -1 0 ""                      the script is over
 *
 * Owned by the server; the node's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct call;
struct client;
struct server;

/* Whether this may run while a slow script does. */
bool busy_allows(const struct client *c, const struct call *k);
/* SHOAL's: it has to wait until the script is over. */
bool busy_defers(const struct call *k);

/* A script has become slow; `k` is the command that runs it. */
void busy_begin(struct server *s, const struct call *k);
/* It still runs. */
void busy_again(struct server *s);
void busy_end(struct server *s);
