// SPDX-License-Identifier: BSD-3-Clause
/* A run of a script, from EVAL's arguments to its reply; and what all commands here share. */
#include "node/cmd/args.h"
#include "node/script/script_priv.h"

#include "common/base/mem.h"

#define MAGIC 0x5c21b75aU

/* ---- life ---- */

struct scripts *scripts_new(const struct script_port *port, const struct script_settings *settings,
                            uint64_t seed)
{
    struct scripts *s = mem_zalloc(sizeof(*s));
    s->magic = MAGIC;
    s->port = *port;
    s->settings = settings;
    s->seed = seed;
    s->eval = engine_new(s, ENGINE_EVAL);
    s->functions = engine_new(s, ENGINE_FUNCTIONS);
    return s;
}

void scripts_free(struct scripts **sp)
{
    struct scripts *s = *sp;
    *sp = NULL;
    if (s == NULL) {
        return;
    }
    CHECK_OBJ(s, MAGIC);
    INVARIANT(s->run == NULL);
    cache_clear(s);
    functions_clear(s);
    engine_free(&s->eval);
    engine_free(&s->functions);
    hmap_fini(&s->by_text);
    hmap_fini(&s->by_sha);
    hmap_fini(&s->libraries);
    hmap_fini(&s->by_name);
    s->magic = 0;
    mem_free(s);
}

void scripts_handlers(struct call_table *t, struct scripts *s)
{
    t->scripts = s;
    t->fn[CMD_EVAL] = cmd_eval;
    t->fn[CMD_EVAL_RO] = cmd_eval_ro;
    t->fn[CMD_EVALSHA] = cmd_evalsha;
    t->fn[CMD_EVALSHA_RO] = cmd_evalsha_ro;
    t->fn[CMD_SCRIPT_LOAD] = cmd_script_load;
    t->fn[CMD_SCRIPT_EXISTS] = cmd_script_exists;
    t->fn[CMD_SCRIPT_FLUSH] = cmd_script_flush;
    t->fn[CMD_SCRIPT_KILL] = cmd_script_kill;
    t->fn[CMD_SCRIPT_HELP] = cmd_script_help;
    t->fn[CMD_FCALL] = cmd_fcall;
    t->fn[CMD_FCALL_RO] = cmd_fcall_ro;
    t->fn[CMD_FUNCTION_LOAD] = cmd_function_load;
    t->fn[CMD_FUNCTION_DELETE] = cmd_function_delete;
    t->fn[CMD_FUNCTION_LIST] = cmd_function_list;
    t->fn[CMD_FUNCTION_STATS] = cmd_function_stats;
    t->fn[CMD_FUNCTION_DUMP] = cmd_function_dump;
    t->fn[CMD_FUNCTION_RESTORE] = cmd_function_restore;
    t->fn[CMD_FUNCTION_FLUSH] = cmd_function_flush;
    t->fn[CMD_FUNCTION_KILL] = cmd_function_kill;
    t->fn[CMD_FUNCTION_HELP] = cmd_function_help;
}

void scripts_stats(const struct scripts *s, struct script_stats *out)
{
    CHECK_OBJ(s, MAGIC);
    *out = (struct script_stats){
        .cached = s->by_sha.count,
        .cached_bytes = s->cache_bytes,
        .eval_bytes = s->eval->bytes,
        .function_bytes = s->functions->bytes,
        .libraries = s->libraries.count,
        .functions = s->n_functions,
        .bytes_of_libraries = s->library_bytes,
    };
}

/* ---- flags ---- */

static const struct {
    const char *name;
    unsigned bit;
} flag_names[] = {
    {"no-writes", SCRIPT_NO_WRITES},
    {"allow-oom", SCRIPT_ALLOW_OOM},
    {"allow-stale", SCRIPT_ALLOW_STALE},
    {"no-cluster", SCRIPT_NO_CLUSTER},
    {"allow-cross-slot-keys", SCRIPT_ALLOW_CROSS_SLOT},
};

unsigned script_flag_by_name(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(flag_names); i++) {
        if (slice_eq(name, slice_str(flag_names[i].name))) {
            return flag_names[i].bit;
        }
    }
    return 0;
}

const char *script_flag_name(unsigned bit)
{
    for (size_t i = 0; i < ARRAY_LEN(flag_names); i++) {
        if (flag_names[i].bit == bit) {
            return flag_names[i].name;
        }
    }
    return NULL;
}

/* ---- before a run ---- */

bool script_keys(struct call *c, size_t at, int64_t *n_keys, const char *not_a_number)
{
    if (!arg_int_or(c, at, n_keys, not_a_number)) {
        return false;
    }
    if (*n_keys > (int64_t)(c->argc - at - 1)) {
        resp_error(&c->w, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    if (*n_keys < 0) {
        resp_error(&c->w, "ERR Number of keys can't be negative");
        return false;
    }
    return true;
}

/* For one that says what it does; others are judged by what they call. */
static const char *why_not(struct call *c, unsigned flags, bool read_only, struct str *why)
{
    const struct scripts *s = scripts_of(c);
    bool writes = (flags & SCRIPT_NO_WRITES) == 0;
    if ((flags & SCRIPT_NO_CLUSTER) != 0 && s->settings->in_cluster) {
        return "ERR Can not run script on cluster, 'no-cluster' flag is set.";
    }
    if (read_only && writes) {
        return "ERR Can not execute a script with write flag using *_ro command.";
    }
    if (writes && !s->port.may_write(s->port.arg, c, why)) {
        return str_cstr(why);
    }
    uint64_t max = c->ks->settings.maxmemory;
    if (writes && (flags & SCRIPT_ALLOW_OOM) == 0 && max != 0 && mem_used() > max) {
        return ERR_OOM;
    }
    return NULL;
}

static unsigned flags_of(const struct scripts *s, const struct command *cmd, struct slice what)
{
    const struct cached *k;
    const struct function *f;
    switch ((int)cmd->id) {
    case CMD_EVAL:
        return cache_flags_of(what);
    case CMD_EVALSHA:
        k = cache_by_sha(s, what);
        return k == NULL ? SCRIPT_COMPAT : k->flags;
    case CMD_FCALL:
        f = functions_find(s, what);
        return f == NULL ? SCRIPT_COMPAT : f->flags;
    default:
        return SCRIPT_NO_WRITES; /* those that only read */
    }
}

bool scripts_may_write(const struct scripts *s, const struct command *cmd, const struct slice *argv,
                       size_t argc)
{
    return argc < 2 || (flags_of(s, cmd, argv[1]) & SCRIPT_NO_WRITES) == 0;
}

bool script_may_begin(struct call *c, unsigned flags, bool read_only)
{
    if ((flags & SCRIPT_COMPAT) != 0) {
        return true;
    }
    struct str why = {0};
    const char *error = why_not(c, flags, read_only, &why);
    if (error != NULL) {
        resp_error(&c->w, error);
    }
    str_fini(&why);
    return error == NULL;
}

/* ---- a run ---- */

/* Arguments `from` to before `to`, as an array on the stack. */
static int push_arguments(lua_State *lua)
{
    const struct slice *argv = lua_touserdata(lua, 1);
    int n = (int)lua_tointeger(lua, 2);
    lua_createtable(lua, n, 0);
    for (int i = 0; i < n; i++) {
        lua_pushlstring(lua, argv[i].ptr, argv[i].len);
        lua_rawseti(lua, -2, i + 1);
    }
    return 1;
}

/* False: memory was out; the error is on the stack. */
static bool push_array(lua_State *lua, const struct slice *argv, size_t n)
{
    lua_pushcfunction(lua, push_arguments);
    lua_pushlightuserdata(lua, (void *)(uintptr_t)argv);
    lua_pushinteger(lua, (lua_Integer)n);
    return lua_pcall(lua, 2, 1, 0) == 0;
}

static bool set_global(lua_State *lua, const char *name, const struct slice *argv, size_t n)
{
    if (!push_array(lua, argv, n)) {
        return false;
    }
    sandbox_push_globals(lua);
    lua_pushstring(lua, name);
    lua_pushvalue(lua, -3);
    lua_rawset(lua, -3);
    lua_pop(lua, 2);
    return true;
}

/* Scripts find KEYS and ARGV, functions are given them. The result, or (false) the error, is left
 * on the stack in the place of the function. */
static bool run_with(struct call *c, struct engine *e, size_t at, size_t n_keys)
{
    const struct slice *keys = &c->argv[at];
    size_t n_args = c->argc - at - n_keys;
    if (e->kind == ENGINE_EVAL) {
        return set_global(e->lua, "KEYS", keys, n_keys) &&
               set_global(e->lua, "ARGV", keys + n_keys, n_args) && engine_call(e, 0);
    }
    return push_array(e->lua, keys, n_keys) && push_array(e->lua, keys + n_keys, n_args) &&
           engine_call(e, 2);
}

static void open_session(struct script_run *run, const struct call *c)
{
    session_init(&run->session);
    run->session.db = c->session->db;
    run->session.no_touch = c->session->no_touch;
    run->session.user = c->session->user;
    run->session.in_exec = true;
    run->session.in_script = true;
}

void script_error(struct resp_writer *w, const char *text, bool mark)
{
    static const char *const codes[] = {"MOVED",    "ASK",     "READONLY",   "CLUSTERDOWN",
                                        "TRYAGAIN", "LOADING", "MASTERDOWN", "NOSCRIPT"};
    size_t len = strcspn(text, " ");
    for (size_t i = 0; mark && i < ARRAY_LEN(codes); i++) {
        if (strlen(codes[i]) == len && memcmp(codes[i], text, len) == 0) {
            resp_errorf(w, "SCRIPT -%s", text);
            return;
        }
    }
    resp_error(w, text);
}

/* What the script came to, on top of the stack. */
static void answer(struct call *c, struct engine *e, const struct script_run *run, bool good,
                   struct convert *how)
{
    if (run->moved.len > 0) {
        resp_error(&c->w, str_cstr(&run->moved));
    } else if (good) {
        how->resp3 = run->session.proto == 3;
        convert_to_reply(e->lua, &c->w, how);
        c->error_counted = how->error_counted;
    } else {
        struct script_error error;
        error_take(e->lua, run->name, &error);
        script_error(&c->w, str_cstr(&error.text), how->mark);
        c->error_counted = error.counted;
        str_fini(&error.text);
    }
}

void script_run(struct call *c, struct engine *e, struct script_run *run, int64_t n_keys)
{
    struct scripts *s = e->scripts;
    int bottom = lua_gettop(e->lua) - 1;
    if (s->run != NULL) {
        lua_settop(e->lua, bottom);
        resp_error(&c->w, "ERR A script cannot run another one");
        return;
    }
    run->engine = e;
    run->call = c;
    run->kind = e->kind == ENGINE_EVAL ? SCRIPT_EVAL : SCRIPT_FUNCTION;
    run->started_us = s->port.now_us(s->port.arg);
    open_session(run, c);
    struct convert how = {.depth_max = s->port.began(s->port.arg, c),
                          .mark = s->port.marks_errors(s->port.arg, c)};
    engine_seed(e, rng_next(c->rng));
    s->run = run;
    bool good = run_with(c, e, 3, (size_t)n_keys);
    s->run = NULL;
    if (run->timed_out) {
        s->port.ended(s->port.arg);
    }
    answer(c, e, run, good, &how);
    str_fini(&run->moved);
    session_fini(&run->session, c->ks);
    lua_settop(e->lua, bottom);
    engine_rest(e);
}

/* ---- while it runs ---- */

enum script_kind scripts_running(const struct scripts *s)
{
    CHECK_OBJ(s, MAGIC);
    return s->run == NULL ? SCRIPT_NONE : s->run->kind;
}

enum script_kind scripts_busy(const struct scripts *s)
{
    return s->run != NULL && s->run->timed_out ? s->run->kind : SCRIPT_NONE;
}

bool scripts_has_written(const struct scripts *s)
{
    return s->run != NULL && s->run->wrote;
}

void scripts_move(struct scripts *s, const char *error)
{
    INVARIANT(s->run != NULL && !s->run->wrote);
    str_appendz(&s->run->moved, error);
}

bool scripts_moved(const struct scripts *s)
{
    return s->run != NULL && s->run->moved.len > 0;
}

void scripts_abort(struct scripts *s)
{
    if (s->run != NULL) {
        s->run->killed = true;
    }
}

static void on_line(lua_State *lua, lua_Debug *ar)
{
    (void)ar;
    script_tick(lua);
}

static void end_killed(lua_State *lua)
{
    /* A pcall of the script's would go on: each line fails from now on. */
    (void)lua_sethook(lua, on_line, LUA_MASKLINE | LUA_MASKCOUNT, TICK_INSTRUCTIONS);
    (void)api_raise(lua, "ERR Script killed by user with SCRIPT KILL...");
}

void script_tick(lua_State *lua)
{
    struct engine *e = engine_of(lua);
    struct scripts *s = e->scripts;
    struct script_run *run = s->run;
    if (run == NULL || run->engine != e) {
        return; /* a finalizer, while garbage is collected */
    }
    if (run->killed) {
        end_killed(lua);
        return;
    }
    int64_t ms = (s->port.now_us(s->port.arg) - run->started_us) / 1000;
    if (run->loading) {
        if (ms >= LOAD_TIMEOUT_MS) {
            (void)api_raise(lua, "ERR FUNCTION LOAD timeout");
        }
        return;
    }
    if (ms >= ALIVE_MS) {
        s->port.alive(s->port.arg);
    }
    int64_t threshold = s->settings->busy_threshold_ms;
    if (threshold <= 0 || ms < threshold) {
        return;
    }
    if (!run->timed_out) {
        run->timed_out = true;
        s->port.log(s->port.arg, 3,
                    SLICE("a script is slow: others are answered BUSY until it ends"));
    }
    s->port.busy(s->port.arg);
    if (run->killed) {
        end_killed(lua);
    }
}

void script_kill(struct call *c, enum script_kind kind)
{
    struct script_run *run = scripts_of(c)->run;
    if (run == NULL) {
        resp_error(&c->w, "NOTBUSY No scripts in execution right now.");
    } else if (run->kind != kind) {
        resp_error(&c->w, script_busy_error(run->kind));
    } else if (run->wrote) {
        resp_error(&c->w,
                   "UNKILLABLE Sorry the script already executed write commands against the "
                   "dataset. You can either wait the script termination or kill the server in a "
                   "hard way using the SHUTDOWN NOSAVE command.");
    } else {
        run->killed = true;
        resp_ok(&c->w);
    }
}

const char *script_busy_error(enum script_kind kind)
{
    return kind == SCRIPT_FUNCTION
               ? "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN "
                 "NOSAVE."
               : "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN "
                 "NOSAVE.";
}

bool script_flush_mode(const struct call *c)
{
    return c->argc == 2 ||
           (c->argc == 3 && (slice_is(c->argv[2], "sync") || slice_is(c->argv[2], "async")));
}
