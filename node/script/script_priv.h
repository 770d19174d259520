// SPDX-License-Identifier: BSD-3-Clause
/* Shared among the files of node/script only. */
#pragma once

#include "node/script/script.h"

#include "common/base/hmap.h"
#include "common/base/sha1.h"

#include <lua.h>
#include <lualib.h>

#include <lauxlib.h>

enum script_flag {
    SCRIPT_NO_WRITES = 1 << 0,
    SCRIPT_ALLOW_OOM = 1 << 1,
    SCRIPT_ALLOW_STALE = 1 << 2,
    SCRIPT_NO_CLUSTER = 1 << 3,
    SCRIPT_ALLOW_CROSS_SLOT = 1 << 4,
    SCRIPT_COMPAT = 1 << 5, /* says nothing about itself: judged by what it calls */
};
/* 0: no such flag. */
unsigned script_flag_by_name(struct slice name);
const char *script_flag_name(unsigned bit); /* NULL behind the last */

/* ---- a Lua state ---- */

enum engine_kind { ENGINE_EVAL, ENGINE_FUNCTIONS };

struct engine {
    enum engine_kind kind;
    struct scripts *scripts;
    lua_State *lua;
    size_t bytes;    /* allocated by it */
    uint64_t random; /* 48 bits, as of drand48 */
    uint64_t runs;
    bool gc_touched; /* a script changed how garbage is collected */
    /* of redis.call: kept between calls, since errors in Lua jump over who would free */
    struct outbuf reply;
    struct str flat;
    struct str numbers;
    struct slice *argv;
    size_t argv_cap;
    struct str json; /* and of cjson, cmsgpack, struct */
};

struct engine *engine_new(struct scripts *s, enum engine_kind kind);
void engine_free(struct engine **e);
static inline struct engine *engine_of(lua_State *lua)
{
    void *e;
    (void)lua_getallocf(lua, &e);
    return e;
}
/* Compiles: the function on the stack. False: *error is the message (on the stack, too). */
bool engine_compile(struct engine *e, struct slice code, const char *name, const char **error);
/* Seeds math.random. */
void engine_seed(struct engine *e, uint64_t seed);
/* 31 bits, uniform, the same row as Redis gives for a seed. */
int32_t engine_random(struct engine *e);

/* Calls the function under `n` arguments on the stack, with errors made tables as error_take reads
 * them. True: one result is on the stack; false: the error is. */
bool engine_call(struct engine *e, int n);
/* What went wrong, in one text, and off the stack. `counted`: a command's error that statistics
 * know already. */
struct script_error {
    struct str text; /* the caller frees */
    bool counted;
};
void error_take(lua_State *lua, const char *name, struct script_error *out);
/* A text that a script makes grow; too long: an error in it. */
void engine_check_text(struct engine *e, lua_State *lua, const struct str *text);
/* At the end of a run: garbage, and what the script may have changed. */
void engine_rest(struct engine *e);

/* ---- the sandbox (sandbox.c) ---- */

/* Opens the libraries in a new state, and closes what is dangerous. */
void sandbox_open(struct engine *e);
/* The table on top becomes one that scripts can read but not change, in its place. */
void sandbox_protect(lua_State *lua);
/* The table behind a protected one at `index` is pushed: true. */
bool sandbox_behind(lua_State *lua, int index);
/* Pushes the table in which global variables are. */
void sandbox_push_globals(lua_State *lua);
/* What scripts see as their globals: those of a run, or those of FUNCTION LOAD. */
void sandbox_loading(lua_State *lua, bool loading);
/* setfenv(0, ...) of an earlier script is undone. */
void sandbox_restore(lua_State *lua);
/* Makes the table on top the one for FUNCTION LOAD. */
void sandbox_set_load_globals(lua_State *lua);
/* A table whose missing fields are an error, as globals' are: the table on top. */
void sandbox_strict(lua_State *lua);
/* What Lua's own parser gets wrong with sources of two gigabytes. NULL: nothing. */
const char *source_too_long(struct slice code);

/* ---- what scripts find (api.c, lib_*.c) ---- */

void api_open(struct engine *e); /* redis, math.random, pcall */
int lib_bit_open(lua_State *lua);
int lib_struct_open(lua_State *lua);
int lib_msgpack_open(lua_State *lua);
int lib_json_open(lua_State *lua);
/* Raises {err = "ERR ..."}; `text` begins with its code. */
int api_raise(lua_State *lua, const char *text);
/* Pushes such a table. `counted`: statistics know it. */
void api_push_error(lua_State *lua, struct slice text, bool counted);

/* ---- values (convert.c) ---- */

/* Pushes the reply of a command; `in` is one whole reply in RESP. */
void convert_to_lua(lua_State *lua, struct slice in);
/* Writes the value on top as a reply, and pops it. */
struct convert {
    bool resp3;         /* the script chose it */
    unsigned depth_max; /* of nested values */
    bool mark;          /* errors: see script_error */
    bool error_counted; /* out: it is an error that statistics know */
};
void convert_to_reply(lua_State *lua, struct resp_writer *w, struct convert *how);

/* ---- a run (script.c) ---- */

struct script_run {
    enum script_kind kind;
    struct engine *engine;
    struct call *call;
    struct session session; /* of the commands that it calls */
    const char *name;       /* the script's SHA1, the function's name */
    unsigned flags;
    bool read_only;
    bool wrote;
    bool timed_out;
    bool killed;
    bool loading;            /* FUNCTION LOAD runs the library's code: it may call nothing */
    struct library *library; /* that is being loaded */
    int64_t started_us;
    unsigned repl;    /* redis.set_repl */
    struct str moved; /* where it is to be run instead; empty: here */
};

#define LOAD_TIMEOUT_MS 500
#define ALIVE_MS        50
/* Lua's instructions between two looks at the clock. */
#define TICK_INSTRUCTIONS 100000

struct library;
struct function;

struct scripts {
    uint32_t magic;
    struct script_port port;
    const struct script_settings *settings;
    uint64_t seed; /* of hashes */
    struct engine *eval;
    struct engine *functions;
    struct script_run *run; /* NULL: none */
    /* cache.c */
    struct hmap by_text;
    struct hmap by_sha;
    size_t cache_bytes;
    /* functions.c */
    struct hmap libraries;
    struct hmap by_name; /* functions */
    size_t n_functions;
    size_t library_bytes;
};

static inline struct scripts *scripts_of(const struct call *c)
{
    return c->table->scripts;
}

/* Arguments from `at` on: how many keys, then keys, then the rest. False: answered. */
bool script_keys(struct call *c, size_t at, int64_t *n_keys, const char *not_a_number);
/* What a script with these flags may do now. False: answered. */
bool script_may_begin(struct call *c, unsigned flags, bool read_only);
/* Runs the function on top of the engine's stack with keys and arguments, and answers. */
void script_run(struct call *c, struct engine *e, struct script_run *run, int64_t n_keys);
/* The error that a script ends with. `mark`: a proxy is not to take it for the node's own word,
 * which would mean that nothing was run. */
void script_error(struct resp_writer *w, const char *text, bool mark);
/* Lua's counter came around: time to look at the clock. */
void script_tick(lua_State *lua);
/* SCRIPT KILL, FUNCTION KILL. */
void script_kill(struct call *c, enum script_kind kind);
/* SYNC or ASYNC behind SCRIPT FLUSH, FUNCTION FLUSH. */
bool script_flush_mode(const struct call *c);

/* ---- the cache of scripts (cache.c) ---- */

struct cached {
    struct hmap_node by_text;
    struct hmap_node by_sha;
    char sha[SHA1_HEX_LEN + 1];
    unsigned flags;
    int ref; /* of the compiled function, in Lua's registry */
    size_t len;
    char text[];
};
/* NULL: answered with what is wrong with it. */
struct cached *cache_script(struct call *c, struct slice text);
/* What the script says of itself; SCRIPT_COMPAT if nothing, or nothing that makes sense. */
unsigned cache_flags_of(struct slice text);
struct cached *cache_by_sha(const struct scripts *s, struct slice sha);
void cache_clear(struct scripts *s);

/* ---- libraries (functions.c) ---- */

struct function {
    struct hmap_node by_name; /* once its library is known */
    struct function *next;    /* in its library, the latest first */
    struct library *library;
    char *name;
    char *description; /* NULL: none */
    unsigned flags;
    int ref;
};
struct function *functions_find(const struct scripts *s, struct slice name);
/* redis.register_function: NULL or the error. Takes the function on top of the stack if it is fine.
 */
const char *functions_register(struct engine *e, struct slice name, struct slice description,
                               unsigned flags);
void functions_clear(struct scripts *s);

/* ---- commands ---- */

#define SCRIPT_HANDLER(name) void cmd_##name(struct call *c)
SCRIPT_HANDLER(eval);
SCRIPT_HANDLER(eval_ro);
SCRIPT_HANDLER(evalsha);
SCRIPT_HANDLER(evalsha_ro);
SCRIPT_HANDLER(script_load);
SCRIPT_HANDLER(script_exists);
SCRIPT_HANDLER(script_flush);
SCRIPT_HANDLER(script_kill);
SCRIPT_HANDLER(script_help);
SCRIPT_HANDLER(fcall);
SCRIPT_HANDLER(fcall_ro);
SCRIPT_HANDLER(function_load);
SCRIPT_HANDLER(function_delete);
SCRIPT_HANDLER(function_list);
SCRIPT_HANDLER(function_stats);
SCRIPT_HANDLER(function_dump);
SCRIPT_HANDLER(function_restore);
SCRIPT_HANDLER(function_flush);
SCRIPT_HANDLER(function_kill);
SCRIPT_HANDLER(function_help);
