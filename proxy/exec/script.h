// SPDX-License-Identifier: BSD-3-Clause
/* The scripts that went by, so that EVALSHA works on a node that lacks one (it is new, or was
 * started again): the command is sent once more as EVAL, and its client never learns of it. A
 * worker's own; bounded, the oldest go first. */
#pragma once

#include "common/base/slice.h"

#include <stdint.h>

struct call;
struct exec;
struct scripts_seen;
struct str;
struct target;

struct scripts_seen *scripts_seen_new(uint64_t seed);
void scripts_seen_free(struct scripts_seen **s);
/* The call was answered with an error. True: it lacked a script, and is on its way again. */
bool script_repair(struct exec *x, struct call *c, const char *reply, size_t len);

/* An error that a script answered, marked by the node: the script was run, whatever the error says.
 * It is unmarked. */
bool script_unmark(const char **ptr, size_t *len);
/* "-MOVED slot ...": a script without keys that belongs there. True: it is on its way. */
bool script_move(struct exec *x, struct call *c, const char *reply, size_t len);
/* By its first line: #!lua flags=no-writes. */
bool script_says_no_writes(struct slice text);
bool script_known_not_to_write(const struct exec *x, struct slice sha);

/* A transaction's EVALSHA, as bytes: a SCRIPT LOAD that must go before the transaction is appended,
 * and 1 returned; 0: the node has it (`t` NULL: who knows), or this walk (x->walk) has met it
 * already, or it is not known here. */
uint32_t script_loads(struct exec *x, const struct target *t, struct slice bytes, struct str *to);
/* It was run there. */
void script_loaded(struct exec *x, const struct target *t, struct slice bytes);
