// SPDX-License-Identifier: BSD-3-Clause
/* The table `redis`, and what of Lua's own functions works otherwise in Redis. */
#include "node/cmd/record.h"
#include "node/script/script_priv.h"

#include "common/base/mem.h"
#include "common/cmd/acl.h"
#include "common/cmd/keys.h"
#include "common/resp/errors.h"

#include <stdio.h>

#define REDIS_VERSION_TEXT   "7.0.15"
#define REDIS_VERSION_NUMBER 0x0007000f

enum { REPL_NONE = 0, REPL_AOF = 1, REPL_REPLICA = 2, REPL_ALL = 3 };
enum { LEVEL_DEBUG, LEVEL_VERBOSE, LEVEL_NOTICE, LEVEL_WARNING };

/* ---- errors ---- */

void api_push_error(lua_State *lua, struct slice text, bool counted)
{
    lua_createtable(lua, 0, 4);
    lua_pushliteral(lua, "err");
    lua_pushlstring(lua, text.ptr, text.len);
    lua_rawset(lua, -3);
    if (counted) {
        lua_pushliteral(lua, "ignore_error_stats_update");
        lua_pushboolean(lua, true);
        lua_rawset(lua, -3);
    }
}

int api_raise(lua_State *lua, const char *text)
{
    api_push_error(lua, slice_str(text), false);
    return lua_error(lua);
}

/* ---- redis.call, redis.pcall ---- */

static struct slice argument(lua_State *lua, int i)
{
    size_t len;
    const char *ptr = lua_tolstring(lua, i, &len);
    return slice_of(ptr, len);
}

/* Arguments 1 to n as e->argv; numbers become strings in their place. False: one is neither. */
static bool read_arguments(lua_State *lua, struct engine *e, int n)
{
    if ((size_t)n > e->argv_cap) {
        e->argv_cap = MAX((size_t)n, e->argv_cap * 2);
        e->argv = mem_realloc(e->argv, e->argv_cap * sizeof(*e->argv));
    }
    for (int i = 1; i <= n; i++) {
        int type = lua_type(lua, i);
        if (type == LUA_TNUMBER) {
            char text[64];
            int len = snprintf(text, sizeof(text), "%.17g", (double)lua_tonumber(lua, i));
            lua_pushlstring(lua, text, (size_t)len);
            lua_replace(lua, i);
        } else if (type != LUA_TSTRING) {
            return false;
        }
        e->argv[i - 1] = argument(lua, i);
    }
    return true;
}

/* A script's copy of the call: what it calls. */
static struct call inner_call(struct script_run *run, const struct command *cmd,
                              const struct slice *argv, size_t argc)
{
    struct engine *e = run->engine;
    outbuf_consume(&e->reply, e->reply.bytes);
    struct call one = *run->call;
    one.cmd = cmd;
    one.argv = argv;
    one.argc = argc;
    one.changes = 0;
    one.probe_arg = 0;
    one.error_counted = false;
    one.wait = (struct call_wait){0};
    one.session = &run->session;
    one.w = (struct resp_writer){.out = &e->reply, .proto = run->session.proto};
    return one;
}

static bool out_of_memory(const struct call *c)
{
    uint64_t max = c->ks->settings.maxmemory;
    return UNLIKELY(max != 0) && mem_used() > max;
}

/* Why the command is refused: the error in `why`. `wrong`: the call itself makes no sense, which
 * is not counted as a refusal of the command. */
static bool is_refused(struct script_run *run, struct call *c, struct str *why)
{
    const struct scripts *s = run->engine->scripts;
    unsigned flags = c->cmd->flags;
    if ((flags & CF_NOSCRIPT) != 0 && !s->settings->deny_off) {
        str_appendz(why, "ERR This Redis command is not allowed from script");
        return true;
    }
    enum acl_answer denied = call_check_user(run->call, c->cmd, c->argv, c->argc, "lua");
    if (denied != ACL_YES) {
        str_printf(why, "ERR %s", acl_script_error(denied));
    } else if ((flags & (CF_WRITE | CF_MAY_REPLICATE)) != 0 && run->read_only) {
        str_appendz(why, "ERR Write commands are not allowed from read-only scripts.");
    } else if ((flags & CF_DENYOOM) != 0 && (run->flags & SCRIPT_ALLOW_OOM) == 0 && !run->wrote &&
               out_of_memory(c)) {
        str_appendz(why, ERR_OOM);
    } else if (!record_has_room(c)) {
        str_appendz(why, ERR_ENTRY);
    } else if (c->table->fn[c->cmd->id] == NULL) {
        str_printf(why, ERR_NOT_SERVED, c->cmd->full_name);
    } else {
        return !s->port.may_call(s->port.arg, run->call, c, why);
    }
    return true;
}

/* The first write: whoever asks for this script's outcome by its keys finds it in their shards. */
static void note_write(struct script_run *run, const struct command *cmd)
{
    if (!run->wrote && (cmd->flags & CF_WRITE) != 0) {
        run->wrote = true;
        record_answers(run->call);
    }
}

/* Bytes of the reply in one piece. */
static struct slice flatten(struct engine *e)
{
    struct iovec piece;
    if (e->reply.count == 1 && outbuf_iovec(&e->reply, &piece, 1) == 1) {
        return slice_of(piece.iov_base, piece.iov_len);
    }
    size_t n = e->reply.bytes;
    str_clear(&e->flat);
    outbuf_copy_last(&e->reply, str_reserve(&e->flat, n), n);
    return slice_of(e->flat.ptr, n);
}

/* Pushes an error that is already counted, or counts it. */
static void push_refusal(lua_State *lua, struct engine *e, const struct call *c, struct str *why)
{
    char code[RESP_CODE_MAX];
    size_t n = MIN(strcspn(str_cstr(why), " "), sizeof(code) - 1);
    memcpy(code, why->ptr, n);
    code[n] = '\0';
    e->scripts->port.rejected(e->scripts->port.arg, c->cmd, code);
    /* Memory may run out in making it: then `why` is lost too, so it goes first. */
    str_clear(&e->flat);
    str_append_slice(&e->flat, str_slice(why));
    str_fini(why);
    api_push_error(lua, str_slice(&e->flat), true);
}

static void push_unknown(struct engine *e, lua_State *lua, const char *text)
{
    e->scripts->port.rejected(e->scripts->port.arg, NULL, "ERR");
    api_push_error(lua, slice_str(text), true);
}

/* The reply, or the error, is pushed; true: it is an error. */
static bool call_command(lua_State *lua, struct engine *e, int argc)
{
    struct script_run *run = e->scripts->run;
    if (argc == 0) {
        api_push_error(
            lua, SLICE("ERR Please specify at least one argument for this redis lib call"), false);
        return true;
    }
    if (!read_arguments(lua, e, argc)) {
        api_push_error(
            lua, SLICE("ERR Lua redis lib command arguments must be strings or integers"), false);
        return true;
    }
    const struct command *cmd = command_find(e->argv, (size_t)argc);
    if (cmd == NULL) {
        push_unknown(e, lua, "ERR Unknown Redis command called from script");
        return true;
    }
    if (!command_arity_ok(cmd, (size_t)argc)) {
        push_unknown(e, lua, "ERR Wrong number of args calling Redis command from script");
        return true;
    }
    struct call one = inner_call(run, cmd, e->argv, (size_t)argc);
    struct str why = {0};
    if (is_refused(run, &one, &why)) {
        lua_settop(lua, 0);
        push_refusal(lua, e, &one, &why);
        return true;
    }
    note_write(run, cmd);
    call_handler(&one);
    run->call->changes += one.changes;
    lua_settop(lua, 0); /* thousands of arguments may leave no room */
    struct slice reply = flatten(e);
    INVARIANT(reply.len > 0);
    convert_to_lua(lua, reply);
    return reply.ptr[0] == '-';
}

/* Nobody's script: a finalizer, or code of a library that is being loaded. */
static bool may_call(const struct engine *e)
{
    const struct script_run *run = e->scripts->run;
    return run != NULL && run->engine == e && !run->loading;
}

static int api_call(lua_State *lua)
{
    struct engine *e = engine_of(lua);
    if (!may_call(e)) {
        return api_raise(lua, "ERR redis.call/pcall can only be called inside a script invocation");
    }
    return call_command(lua, e, lua_gettop(lua)) ? lua_error(lua) : 1;
}

static int api_pcall(lua_State *lua)
{
    struct engine *e = engine_of(lua);
    if (!may_call(e)) {
        return api_raise(lua, "ERR redis.call/pcall can only be called inside a script invocation");
    }
    (void)call_command(lua, e, lua_gettop(lua));
    return 1;
}

static bool user_may(const struct acl_user *user, const struct command *cmd, const struct engine *e,
                     size_t argc)
{
    struct key_list keys;
    size_t at;
    if (user == NULL) {
        return true;
    }
    key_list_init(&keys);
    enum acl_answer answer = acl_check(user, cmd, e->argv, argc, &keys, &at);
    key_list_fini(&keys);
    return answer == ACL_YES;
}

static int api_acl_check_cmd(lua_State *lua)
{
    struct engine *e = engine_of(lua);
    int argc = lua_gettop(lua);
    if (!may_call(e)) {
        return api_raise(lua,
                         "ERR redis.acl_check_cmd can only be called inside a script invocation");
    }
    if (argc == 0) {
        return api_raise(lua, "ERR Please specify at least one argument for this redis lib call");
    }
    if (!read_arguments(lua, e, argc)) {
        return api_raise(lua, "ERR Lua redis lib command arguments must be strings or integers");
    }
    const struct command *cmd = command_find(e->argv, (size_t)argc);
    if (cmd == NULL) {
        return api_raise(lua, "ERR Invalid command passed to redis.acl_check_cmd()");
    }
    lua_pushboolean(lua, user_may(e->scripts->run->call->session->user, cmd, e, (size_t)argc));
    return 1;
}

/* ---- replies ---- */

static int push_reply(lua_State *lua, const char *name)
{
    lua_createtable(lua, 0, 1);
    lua_pushstring(lua, name);
    lua_pushvalue(lua, 1);
    lua_rawset(lua, -3);
    return 1;
}

static int wrong_reply(lua_State *lua)
{
    api_push_error(lua, SLICE("ERR wrong number or type of arguments"), false);
    return 1;
}

/* "MY text" has its own code; "text" gets one, and a '-' in front is for show. */
static int api_error_reply(lua_State *lua)
{
    if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
        return wrong_reply(lua);
    }
    struct slice text = argument(lua, 1);
    if (text.len > 0 && text.ptr[0] == '-') {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    if (memchr(text.ptr, ' ', text.len) != NULL) {
        lua_pushlstring(lua, text.ptr, text.len);
    } else {
        lua_pushliteral(lua, "ERR ");
        lua_pushlstring(lua, text.ptr, text.len);
        lua_concat(lua, 2);
    }
    lua_replace(lua, 1);
    return push_reply(lua, "err");
}

static int api_status_reply(lua_State *lua)
{
    if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
        return wrong_reply(lua);
    }
    return push_reply(lua, "ok");
}

static int api_sha1hex(lua_State *lua)
{
    char hex[SHA1_HEX_LEN + 1];
    if (lua_gettop(lua) != 1) {
        return api_raise(lua, "ERR wrong number of arguments");
    }
    struct slice text = lua_isstring(lua, 1) ? argument(lua, 1) : SLICE("");
    sha1_hex(text.ptr, text.len, hex);
    lua_pushlstring(lua, hex, SHA1_HEX_LEN);
    return 1;
}

static int api_log(lua_State *lua)
{
    struct engine *e = engine_of(lua);
    int argc = lua_gettop(lua);
    if (argc < 2) {
        return api_raise(lua, "ERR redis.log() requires two arguments or more.");
    }
    if (!lua_isnumber(lua, 1)) {
        return api_raise(lua, "ERR First argument must be a number (log level).");
    }
    lua_Number level = lua_tonumber(lua, 1);
    if (!(level >= LEVEL_DEBUG && level <= LEVEL_WARNING)) {
        return api_raise(lua, "ERR Invalid debug level.");
    }
    str_clear(&e->flat);
    for (int i = 2; i <= argc; i++) {
        if (i > 2) {
            str_append_char(&e->flat, ' ');
        }
        if (lua_isstring(lua, i)) {
            str_append_slice(&e->flat, argument(lua, i));
        }
    }
    e->scripts->port.log(e->scripts->port.arg, (int)level, str_slice(&e->flat));
    return 0;
}

/* ---- how it runs ---- */

static int api_setresp(lua_State *lua)
{
    struct engine *e = engine_of(lua);
    if (lua_gettop(lua) != 1) {
        return api_raise(lua, "ERR redis.setresp() requires one argument.");
    }
    lua_Number version = lua_tonumber(lua, 1);
    if (!(version == 2 || version == 3)) {
        return api_raise(lua, "ERR RESP version must be 2 or 3.");
    }
    if (may_call(e)) {
        e->scripts->run->session.proto = (int)version;
    }
    return 0;
}

static int api_set_repl(lua_State *lua)
{
    struct engine *e = engine_of(lua);
    if (lua_gettop(lua) != 1) {
        return api_raise(lua, "ERR redis.set_repl() requires two arguments.");
    }
    lua_Number flags = lua_tonumber(lua, 1);
    if (!(flags >= REPL_NONE && flags <= REPL_ALL)) {
        return api_raise(lua, "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL "
                              "or REPL_NONE.");
    }
    /* Whatever it says: copies are always equal here (docs/COMPATIBILITY.md). */
    if (may_call(e)) {
        e->scripts->run->repl = (unsigned)flags;
    }
    return 0;
}

static int api_replicate_commands(lua_State *lua)
{
    lua_pushboolean(lua, true);
    return 1;
}

/* There is no debugger. */
static int api_breakpoint(lua_State *lua)
{
    lua_pushboolean(lua, false);
    return 1;
}

static int api_debug(lua_State *lua)
{
    (void)lua;
    return 0;
}

/* ---- redis.register_function ---- */

static int register_error(lua_State *lua, const char *text)
{
    struct str all = {0};
    str_printf(&all, "ERR %s", text);
    lua_pushlstring(lua, all.ptr, all.len);
    str_fini(&all);
    size_t len;
    const char *ptr = lua_tolstring(lua, -1, &len);
    api_push_error(lua, slice_of(ptr, len), false);
    return lua_error(lua);
}

/* The array of flags at `index`; false: one is not known. */
static bool read_flags(lua_State *lua, int index, unsigned *flags)
{
    for (int i = 1;; i++) {
        lua_rawgeti(lua, index, i);
        if (lua_isnil(lua, -1)) {
            lua_pop(lua, 1);
            return true;
        }
        unsigned one =
            lua_type(lua, -1) == LUA_TSTRING ? script_flag_by_name(argument(lua, -1)) : 0;
        lua_pop(lua, 1);
        if (one == 0) {
            return false;
        }
        *flags |= one;
    }
}

struct registering {
    struct slice name; /* in strings that stay on the stack */
    struct slice description;
    unsigned flags;
    int callback; /* index; 0: none */
};

#define NAME_OF(field) field " argument given to redis.register_function must be a "

/* One named argument: key at -2, value on top, left there. NULL or what is wrong. */
static const char *read_named(lua_State *lua, struct registering *g)
{
    int value = lua_gettop(lua);
    struct slice key = lua_type(lua, -2) == LUA_TSTRING ? argument(lua, -2) : SLICE("");
    if (slice_eq(key, SLICE("function_name"))) {
        if (!lua_isstring(lua, value)) {
            return NAME_OF("function_name") "string";
        }
        g->name = argument(lua, value);
    } else if (slice_eq(key, SLICE("description"))) {
        if (!lua_isstring(lua, value)) {
            return NAME_OF("description") "string";
        }
        g->description = argument(lua, value);
    } else if (slice_eq(key, SLICE("callback"))) {
        if (!lua_isfunction(lua, value)) {
            return NAME_OF("callback") "function";
        }
        g->callback = value;
    } else if (slice_eq(key, SLICE("flags"))) {
        if (!lua_istable(lua, value)) {
            return "flags argument to redis.register_function must be a table representing "
                   "function flags";
        }
        if (!read_flags(lua, value, &g->flags)) {
            return "unknown flag given";
        }
    } else {
        return "unknown argument given to redis.register_function";
    }
    return NULL;
}

/* Values are kept on the stack, under the key that the walk goes on from. */
static const char *read_table(lua_State *lua, struct registering *g)
{
    lua_pushnil(lua);
    while (lua_next(lua, 1)) {
        luaL_checkstack(lua, 4, "too many arguments");
        const char *wrong = read_named(lua, g);
        if (wrong != NULL) {
            return wrong;
        }
        lua_insert(lua, -2);
        if (g->callback == lua_gettop(lua)) {
            g->callback--;
        }
    }
    if (g->name.ptr == NULL) {
        return "redis.register_function must get a function name argument";
    }
    return g->callback == 0 ? "redis.register_function must get a callback argument" : NULL;
}

static const char *read_registering(lua_State *lua, struct registering *g)
{
    int argc = lua_gettop(lua);
    if (argc < 1 || argc > 2) {
        return "wrong number of arguments to redis.register_function";
    }
    if (argc == 1) {
        if (!lua_istable(lua, 1)) {
            return "calling redis.register_function with a single argument is only applicable to "
                   "Lua table (representing named arguments).";
        }
        return read_table(lua, g);
    }
    if (!lua_isstring(lua, 1)) {
        return "first argument to redis.register_function must be a string";
    }
    if (!lua_isfunction(lua, 2)) {
        return "second argument to redis.register_function must be a function";
    }
    g->name = argument(lua, 1);
    g->callback = 2;
    return NULL;
}

static int api_register_function(lua_State *lua)
{
    struct engine *e = engine_of(lua);
    const struct script_run *run = e->scripts->run;
    if (run == NULL || !run->loading) {
        return register_error(
            lua, "redis.register_function can only be called on FUNCTION LOAD command");
    }
    struct registering g = {0};
    const char *wrong = read_registering(lua, &g);
    if (wrong == NULL) {
        lua_pushvalue(lua, g.callback);
        if (lua != e->lua) {
            return register_error(lua, "redis.register_function cannot be called by a coroutine");
        }
        wrong = functions_register(e, g.name, g.description, g.flags);
    }
    return wrong == NULL ? 0 : register_error(lua, wrong);
}

/* ---- math ---- */

static int math_random(lua_State *lua)
{
    lua_Number r = (lua_Number)(engine_random(engine_of(lua)) % INT32_MAX) / (lua_Number)INT32_MAX;
    switch (lua_gettop(lua)) {
    case 0:
        lua_pushnumber(lua, r);
        break;
    case 1: {
        int upper = luaL_checkint(lua, 1);
        luaL_argcheck(lua, 1 <= upper, 1, "interval is empty");
        lua_pushnumber(lua, (lua_Number)((int64_t)(r * upper) + 1));
        break;
    }
    case 2: {
        int lower = luaL_checkint(lua, 1);
        int upper = luaL_checkint(lua, 2);
        luaL_argcheck(lua, lower <= upper, 2, "interval is empty");
        int64_t n = (int64_t)upper - lower + 1;
        lua_pushnumber(lua, (lua_Number)((int64_t)(r * (lua_Number)n) + lower));
        break;
    }
    default:
        return luaL_error(lua, "wrong number of arguments");
    }
    return 1;
}

static int math_randomseed(lua_State *lua)
{
    engine_seed(engine_of(lua), (uint64_t)(int64_t)luaL_checkint(lua, 1));
    return 0;
}

/* ---- opening ---- */

struct constant {
    const char *name;
    int value;
};

static const luaL_Reg common[] = {
    {"log", api_log},
    {NULL, NULL},
};
static const luaL_Reg running[] = {
    {"call", api_call},
    {"pcall", api_pcall},
    {"error_reply", api_error_reply},
    {"status_reply", api_status_reply},
    {"sha1hex", api_sha1hex},
    {"setresp", api_setresp},
    {"set_repl", api_set_repl},
    {"acl_check_cmd", api_acl_check_cmd},
    {NULL, NULL},
};
static const luaL_Reg scripts_only[] = {
    {"replicate_commands", api_replicate_commands},
    {"breakpoint", api_breakpoint},
    {"debug", api_debug},
    {NULL, NULL},
};
static const luaL_Reg loading_only[] = {
    {"register_function", api_register_function},
    {NULL, NULL},
};
static const struct constant levels[] = {
    {"LOG_DEBUG", LEVEL_DEBUG},
    {"LOG_VERBOSE", LEVEL_VERBOSE},
    {"LOG_NOTICE", LEVEL_NOTICE},
    {"LOG_WARNING", LEVEL_WARNING},
    {"REDIS_VERSION_NUM", REDIS_VERSION_NUMBER},
};
static const struct constant replication[] = {
    {"REPL_NONE", REPL_NONE},       {"REPL_AOF", REPL_AOF}, {"REPL_SLAVE", REPL_REPLICA},
    {"REPL_REPLICA", REPL_REPLICA}, {"REPL_ALL", REPL_ALL},
};

static void set_constants(lua_State *lua, const struct constant *of, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        lua_pushinteger(lua, of[i].value);
        lua_setfield(lua, -2, of[i].name);
    }
}

static void push_common(lua_State *lua)
{
    lua_newtable(lua);
    luaL_register(lua, NULL, common);
    set_constants(lua, levels, ARRAY_LEN(levels));
    lua_pushliteral(lua, REDIS_VERSION_TEXT);
    lua_setfield(lua, -2, "REDIS_VERSION");
}

/* What the code of a library sees while it is loaded: no data, no time, no randomness. */
static void open_loading(lua_State *lua)
{
    lua_newtable(lua);
    push_common(lua);
    luaL_register(lua, NULL, loading_only);
    sandbox_strict(lua);
    sandbox_protect(lua);
    lua_setfield(lua, -2, "redis");
    sandbox_strict(lua);
    sandbox_set_load_globals(lua);
}

void api_open(struct engine *e)
{
    static const luaL_Reg random[] = {
        {"random", math_random}, {"randomseed", math_randomseed}, {NULL, NULL}};
    lua_State *lua = e->lua;
    push_common(lua);
    luaL_register(lua, NULL, running);
    set_constants(lua, replication, ARRAY_LEN(replication));
    if (e->kind == ENGINE_EVAL) {
        luaL_register(lua, NULL, scripts_only);
    } else {
        open_loading(lua);
    }
    lua_setglobal(lua, "redis");
    lua_getglobal(lua, "math");
    luaL_register(lua, NULL, random);
    lua_pop(lua, 1);
}
