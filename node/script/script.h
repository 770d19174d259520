// SPDX-License-Identifier: BSD-3-Clause
/* Lua scripts and function libraries: EVAL, SCRIPT, FUNCTION, FCALL and their kin.
 *
 * Two Lua states (one for scripts, one for libraries), each a sandbox: globals and library tables
 * cannot be changed, nothing reaches files, other code or another client's data. What a script
 * writes is logged as the effects of the commands that it called, all in the group of the command
 * that ran it (node/cmd/record.h).
 *
 * One script runs at a time, on the node's thread. When it takes long the port's `busy` is called
 * again and again from within, so that others can be answered and the script be killed.
 *
 * Pure: time, randomness and permission come from the port and the call. */
#pragma once

#include "node/cmd/call.h"

#include "common/base/str.h"

struct scripts;

/* The script's outside world. `c` is EVAL, FCALL... itself, or EXEC's copy of it. */
struct script_port {
    void *arg;
    int64_t (*now_us)(void *arg); /* a clock that never goes back */
    /* The script is about to run. Returns how deep its reply may nest. */
    unsigned (*began)(void *arg, struct call *c);
    /* It is over, after `busy` was called. */
    void (*ended)(void *arg);
    /* Who asked takes some errors for the node's own: those of scripts are marked. */
    bool (*marks_errors)(void *arg, const struct call *c);
    /* Whether `inner` may be called; false: the error, with its code, is in `why`. The table's
     * flags are looked at already. */
    bool (*may_call)(void *arg, const struct call *c, const struct call *inner, struct str *why);
    /* Whether a script that may write can begin at all now, for those that say what they do. */
    bool (*may_write)(void *arg, const struct call *c, struct str *why);
    /* An inner command was refused, and counted so. */
    void (*rejected)(void *arg, const struct command *cmd, const char *code);
    /* It goes on; called now and then before it is slow, too. */
    void (*alive)(void *arg);
    /* It is slow: others may be served. */
    void (*busy)(void *arg);
    void (*log)(void *arg, int level, struct slice text); /* 0 debug to 3 warning */
    /* The libraries changed: they are to be kept, and told to whom it concerns. False: they could
     * not be (the error is in `why`), and the change is undone. */
    bool (*libraries_changed)(void *arg, struct str *why);
};

struct script_settings {
    int64_t busy_threshold_ms; /* 0: never busy */
    bool in_cluster;
    bool deprecated_api; /* getfenv, setfenv, newproxy; read when a state is made */
    size_t memory_max;   /* of one Lua state, and of the texts it makes; 0: what the machine has */
    bool deny_off;       /* DEBUG SET-DISABLE-DENY-SCRIPTS */
};

struct scripts *scripts_new(const struct script_port *port, const struct script_settings *settings,
                            uint64_t seed);
void scripts_free(struct scripts **s);
/* Fills in the commands, which find `s` by t->scripts. */
void scripts_handlers(struct call_table *t, struct scripts *s);

/* Whether the script that these words run may write, by what it says of itself. */
bool scripts_may_write(const struct scripts *s, const struct command *cmd, const struct slice *argv,
                       size_t argc);

/* ---- while one runs ---- */

enum script_kind { SCRIPT_NONE, SCRIPT_EVAL, SCRIPT_FUNCTION };
/* What runs now and has gone beyond the threshold: everybody else is told so. */
enum script_kind scripts_busy(const struct scripts *s);
enum script_kind scripts_running(const struct scripts *s);
/* Whether it has begun to write. */
bool scripts_has_written(const struct scripts *s);
/* It has done nothing yet, and belongs to another node: this is answered in the place of whatever
 * it comes to; it is not to be let call anything more. */
void scripts_move(struct scripts *s, const char *error);
bool scripts_moved(const struct scripts *s);
/* Ends it at the next chance: the program ends. */
void scripts_abort(struct scripts *s);
/* What everybody else is answered meanwhile. */
const char *script_busy_error(enum script_kind kind);

/* ---- libraries as one payload (FUNCTION DUMP's), for files and other nodes ---- */

void scripts_dump(const struct scripts *s, struct str *to);
/* In place of all there are; they stay where it fails. The port is not told. */
bool scripts_restore(struct scripts *s, struct slice payload, struct str *why) MUSTCHECK;
/* One library's source, for dump.rdb; `replace`: one of that name goes. */
bool scripts_load(struct scripts *s, struct slice code, bool replace, struct str *why) MUSTCHECK;
void scripts_clear_libraries(struct scripts *s);
/* Libraries with these sources in place of all there are, as scripts_restore. */
bool scripts_replace_all(struct scripts *s, const struct slice *codes, size_t n,
                         struct str *why) MUSTCHECK;
typedef void script_library_fn(void *arg, struct slice name, struct slice code);
void scripts_each_library(const struct scripts *s, script_library_fn *fn, void *arg);

struct script_stats {
    size_t cached;         /* scripts */
    size_t cached_bytes;   /* of their texts and entries */
    size_t eval_bytes;     /* of the state of scripts */
    size_t function_bytes; /* of the state of libraries */
    size_t libraries;
    size_t functions;
    size_t bytes_of_libraries;
};
void scripts_stats(const struct scripts *s, struct script_stats *out);
