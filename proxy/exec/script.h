// SPDX-License-Identifier: BSD-3-Clause
/* The scripts that went by, so that EVALSHA works on a node that lacks one (it is new, or was
 * started again): the command is sent once more as EVAL, and its client never learns of it. A
 * worker's own; bounded, the oldest go first. */
#pragma once

#include "common/base/slice.h"

#include <stdint.h>

struct call;
struct command;
struct exec;
struct scripts_seen;

struct scripts_seen *scripts_seen_new(uint64_t seed);
void scripts_seen_free(struct scripts_seen **s);
/* EVAL, SCRIPT LOAD: their script is remembered. */
void script_note(struct exec *x, const struct command *c, const struct slice *argv, size_t argc);
/* The call was answered with an error. True: it lacked a script, and is on its way again. */
bool script_repair(struct exec *x, struct call *c, const char *reply, size_t len);
