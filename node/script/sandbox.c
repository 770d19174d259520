// SPDX-License-Identifier: BSD-3-Clause
/* What a script cannot do. Lua 5.1 has no read-only tables; here one is an empty table (so every
 * write comes to its metatable, which refuses it) in front of the one that holds the values, and
 * the few functions of Lua that go around metatables are replaced by ones that know of it.
 *
 *   G {}  --metatable: __index = globals, __newindex = refuse, [key] = globals-->  globals {...}
 *                                                   --metatable: __index = missing is an error
 *
 * Also here: what Lua 5.1 itself gets wrong when its user is not to be trusted. */
#include "node/script/script_priv.h"

#include "common/base/mem.h"

#include <limits.h>

/* Their addresses are keys in the registry and in metatables that no script can make. */
static const char key_behind;
static const char key_globals;      /* G */
static const char key_real_globals; /* behind it */
static const char key_load_globals;
static const char key_string_meta; /* what getmetatable("") shows */
static const char key_globals_meta;

static void push_key(lua_State *lua, const char *key)
{
    lua_pushlightuserdata(lua, (void *)(uintptr_t)key);
}

static void get_registered(lua_State *lua, const char *key)
{
    push_key(lua, key);
    lua_rawget(lua, LUA_REGISTRYINDEX);
}

/* The value on top, popped. */
static void set_registered(lua_State *lua, const char *key)
{
    push_key(lua, key);
    lua_insert(lua, -2);
    lua_rawset(lua, LUA_REGISTRYINDEX);
}

bool sandbox_behind(lua_State *lua, int index)
{
    if (!lua_getmetatable(lua, index)) {
        return false;
    }
    push_key(lua, &key_behind);
    lua_rawget(lua, -2);
    lua_remove(lua, -2);
    if (lua_istable(lua, -1)) {
        return true;
    }
    lua_pop(lua, 1);
    return false;
}

#define READONLY "Attempt to modify a readonly table"

static int refuse_write(lua_State *lua)
{
    return luaL_error(lua, READONLY);
}

/* From a function that is Lua's own: no place is told. */
static int refuse_raw(lua_State *lua)
{
    lua_pushliteral(lua, READONLY);
    return lua_error(lua);
}

void sandbox_protect(lua_State *lua)
{
    lua_newtable(lua);
    lua_newtable(lua);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, refuse_write);
    lua_setfield(lua, -2, "__newindex");
    push_key(lua, &key_behind);
    lua_pushvalue(lua, -4);
    lua_rawset(lua, -3);
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

static int missing_global(lua_State *lua)
{
    const char *name = lua_isstring(lua, 2) ? lua_tostring(lua, 2) : luaL_typename(lua, 2);
    return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'", name);
}

void sandbox_strict(lua_State *lua)
{
    lua_newtable(lua);
    lua_pushcfunction(lua, missing_global);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
}

void sandbox_restore(lua_State *lua)
{
    get_registered(lua, &key_globals);
    lua_replace(lua, LUA_GLOBALSINDEX);
}

void sandbox_push_globals(lua_State *lua)
{
    get_registered(lua, &key_real_globals);
}

void sandbox_set_load_globals(lua_State *lua)
{
    set_registered(lua, &key_load_globals);
}

void sandbox_loading(lua_State *lua, bool loading)
{
    get_registered(lua, &key_globals);
    (void)lua_getmetatable(lua, -1);
    get_registered(lua, loading ? &key_load_globals : &key_real_globals);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 2);
}

/* ---- Lua's functions that go around metatables ---- */

static int safe_getmetatable(lua_State *lua)
{
    luaL_checkany(lua, 1);
    if (lua_type(lua, 1) == LUA_TSTRING) {
        get_registered(lua, &key_string_meta);
        return 1;
    }
    if (sandbox_behind(lua, 1)) {
        get_registered(lua, &key_globals);
        bool is_globals = lua_rawequal(lua, 1, -1);
        if (is_globals) {
            get_registered(lua, &key_globals_meta);
        } else {
            lua_pushnil(lua);
        }
        return 1;
    }
    if (!lua_getmetatable(lua, 1)) {
        lua_pushnil(lua);
        return 1;
    }
    (void)luaL_getmetafield(lua, 1, "__metatable");
    return 1;
}

static int safe_setmetatable(lua_State *lua)
{
    int t = lua_type(lua, 2);
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_argcheck(lua, t == LUA_TNIL || t == LUA_TTABLE, 2, "nil or table expected");
    if (sandbox_behind(lua, 1)) {
        return refuse_raw(lua);
    }
    if (luaL_getmetafield(lua, 1, "__metatable")) {
        return luaL_error(lua, "cannot change a protected metatable");
    }
    lua_settop(lua, 2);
    lua_setmetatable(lua, 1);
    return 1;
}

static int safe_rawset(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    luaL_checkany(lua, 3);
    if (sandbox_behind(lua, 1)) {
        return refuse_raw(lua);
    }
    lua_settop(lua, 3);
    lua_rawset(lua, 1);
    return 1;
}

static int safe_rawget(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    if (sandbox_behind(lua, 1)) {
        lua_replace(lua, 1);
    }
    lua_settop(lua, 2);
    lua_rawget(lua, 1);
    return 1;
}

static int safe_next(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    if (sandbox_behind(lua, 1)) {
        lua_replace(lua, 1);
    }
    lua_settop(lua, 2);
    if (lua_next(lua, 1)) {
        return 2;
    }
    lua_pushnil(lua);
    return 1;
}

/* Its upvalue is `next`. */
static int safe_pairs(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_pushvalue(lua, 1);
    lua_pushnil(lua);
    return 3;
}

/* Its upvalue is Lua's table.insert. */
static int safe_insert(lua_State *lua)
{
    if (sandbox_behind(lua, 1)) {
        return refuse_raw(lua);
    }
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/* Redis gives an error that is a table as its text. */
static int safe_pcall(lua_State *lua)
{
    luaL_checkany(lua, 1);
    int failed = lua_pcall(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0);
    if (failed != 0 && lua_istable(lua, -1) && !sandbox_behind(lua, lua_gettop(lua))) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, -2);
        if (lua_type(lua, -1) == LUA_TSTRING) {
            lua_remove(lua, -2);
        } else {
            lua_pop(lua, 1);
        }
    }
    lua_pushboolean(lua, failed == 0);
    lua_insert(lua, 1);
    return lua_gettop(lua);
}

/* ---- what Lua 5.1 gets wrong ---- */

/* Its own counts in an int that may run over. */
static int safe_unpack(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_Integer first = luaL_optint(lua, 2, 1);
    lua_Integer last = lua_isnoneornil(lua, 3) ? (lua_Integer)lua_objlen(lua, 1)
                                               : (lua_Integer)luaL_checkint(lua, 3);
    if (first > last) {
        return 0;
    }
    lua_Integer n = last - first + 1;
    if (n >= INT_MAX || !lua_checkstack(lua, (int)n)) {
        return luaL_error(lua, "too many results to unpack");
    }
    for (lua_Integer i = first; i <= last; i++) {
        lua_rawgeti(lua, 1, (int)i);
    }
    return (int)n;
}

const char *source_too_long(struct slice code)
{
    if (LIKELY(code.len < INT_MAX / 2)) {
        return NULL;
    }
    size_t lines = 0;
    size_t equals = 0; /* in a row */
    for (size_t i = 0; i < code.len; i++) {
        lines += code.ptr[i] == '\n' || code.ptr[i] == '\r';
        equals = code.ptr[i] == '=' ? equals + 1 : 0;
        if (lines >= INT_MAX - 8) {
            return "chunk has too many lines";
        }
        if (equals >= INT_MAX - 8) {
            return "invalid long string delimiter";
        }
    }
    return NULL;
}

struct pieces {
    struct slice text; /* of loadstring */
    bool first;
    bool done;
};

static const char *first_piece(struct pieces *p, const char *ptr, size_t len, size_t *size)
{
    p->first = false;
    if (len > 0 && ptr[0] == LUA_SIGNATURE[0]) {
        p->text = slice_of(ptr, len); /* the next piece */
        *size = 1;
        return " ";
    }
    *size = len;
    p->done = true;
    return ptr;
}

static const char *read_string(lua_State *lua, void *ud, size_t *size)
{
    (void)lua;
    struct pieces *p = ud;
    if (p->first) {
        return first_piece(p, p->text.ptr, p->text.len, size);
    }
    *size = p->done ? 0 : p->text.len;
    p->done = true;
    return p->text.ptr;
}

/* The function is at 1; the piece that it gave last is kept at 3. */
static const char *read_function(lua_State *lua, void *ud, size_t *size)
{
    struct pieces *p = ud;
    if (!p->first && !p->done) {
        p->done = true;
        *size = p->text.len;
        return p->text.ptr;
    }
    luaL_checkstack(lua, 2, "too many nested functions");
    lua_pushvalue(lua, 1);
    lua_call(lua, 0, 1);
    *size = 0;
    if (lua_isnil(lua, -1)) {
        return NULL;
    }
    if (!lua_isstring(lua, -1)) {
        luaL_error(lua, "reader function must return a string");
    }
    lua_replace(lua, 3);
    size_t len;
    const char *ptr = lua_tolstring(lua, 3, &len);
    if (p->first) {
        return first_piece(p, ptr, len, size);
    }
    *size = len;
    return ptr;
}

/* What was compiled, or nil and why not. */
static int loaded(lua_State *lua, int failed)
{
    if (failed == 0) {
        return 1;
    }
    lua_pushnil(lua);
    lua_insert(lua, -2);
    return 2;
}

/* Compiled code could do anything; and the name of a chunk has to be held while it is parsed,
 * which Lua forgets. It stands at 4. */
static int safe_loadstring(lua_State *lua)
{
    struct pieces p = {.first = true};
    p.text.ptr = luaL_checklstring(lua, 1, &p.text.len);
    const char *name = luaL_optstring(lua, 2, p.text.ptr);
    const char *wrong = source_too_long(p.text);
    if (wrong != NULL) {
        lua_pushnil(lua);
        lua_pushstring(lua, wrong);
        return 2;
    }
    lua_settop(lua, 3);
    lua_pushstring(lua, name);
    return loaded(lua, lua_load(lua, read_string, &p, lua_tostring(lua, 4)));
}

static int safe_load(lua_State *lua)
{
    struct pieces p = {.first = true};
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    const char *name = luaL_optstring(lua, 2, "=(load)");
    lua_settop(lua, 3);
    lua_pushstring(lua, name);
    return loaded(lua, lua_load(lua, read_function, &p, lua_tostring(lua, 4)));
}

/* Matching calls itself for each item of a pattern: a long one would use up the stack. */
#define PATTERN_MAX 20000

static int safe_pattern(lua_State *lua)
{
    size_t len;
    (void)luaL_checkstring(lua, 1);
    (void)luaL_checklstring(lua, 2, &len);
    if (len > PATTERN_MAX && !lua_toboolean(lua, 4)) {
        return luaL_error(lua, "pattern too complex");
    }
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

static int safe_collectgarbage(lua_State *lua)
{
    const char *what = luaL_optstring(lua, 1, "collect");
    engine_of(lua)->gc_touched |= strcmp(what, "collect") != 0 && strcmp(what, "count") != 0;
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/* ---- opening ---- */

static void open_library(lua_State *lua, const char *name, lua_CFunction open)
{
    lua_pushcfunction(lua, open);
    lua_pushstring(lua, name);
    lua_call(lua, 1, 0);
}

static void remove_global(lua_State *lua, const char *name)
{
    lua_pushnil(lua);
    lua_setglobal(lua, name);
}

/* The field of the table on top becomes `fn`, which has the old one as its upvalue. */
static void wrap(lua_State *lua, const char *name, lua_CFunction fn)
{
    lua_getfield(lua, -1, name);
    lua_pushcclosure(lua, fn, 1);
    lua_setfield(lua, -2, name);
}

static void replace_functions(lua_State *lua)
{
    static const luaL_Reg safe[] = {
        {"getmetatable", safe_getmetatable},
        {"setmetatable", safe_setmetatable},
        {"rawset", safe_rawset},
        {"rawget", safe_rawget},
        {"next", safe_next},
        {"pcall", safe_pcall},
        {"unpack", safe_unpack},
        {"loadstring", safe_loadstring},
        {"load", safe_load},
        {NULL, NULL},
    };
    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    luaL_register(lua, NULL, safe);
    lua_getfield(lua, -1, "next");
    lua_pushcclosure(lua, safe_pairs, 1);
    lua_setfield(lua, -2, "pairs");
    wrap(lua, "collectgarbage", safe_collectgarbage);
    lua_getfield(lua, -1, "table");
    wrap(lua, "insert", safe_insert);
    lua_pop(lua, 1);
    lua_getfield(lua, -1, "string");
    wrap(lua, "find", safe_pattern);
    wrap(lua, "match", safe_pattern);
    wrap(lua, "gmatch", safe_pattern);
    wrap(lua, "gfind", safe_pattern);
    wrap(lua, "gsub", safe_pattern);
    lua_pop(lua, 2);
}

static void protect_global(lua_State *lua, const char *name)
{
    lua_getglobal(lua, name);
    sandbox_protect(lua);
    lua_setglobal(lua, name);
}

/* "x":upper() goes by a metatable that is shown as a protected one. */
static void protect_strings(lua_State *lua)
{
    lua_newtable(lua);
    lua_getglobal(lua, "string");
    lua_setfield(lua, -2, "__index");
    sandbox_protect(lua);
    set_registered(lua, &key_string_meta);
}

/* The globals so far become those behind G, and G takes their place. */
static void protect_globals(lua_State *lua)
{
    lua_newtable(lua);
    lua_pushcfunction(lua, missing_global);
    lua_setfield(lua, -2, "__index");
    sandbox_protect(lua);
    set_registered(lua, &key_globals_meta);

    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    sandbox_strict(lua);
    lua_pushvalue(lua, -1);
    set_registered(lua, &key_real_globals);
    lua_pushvalue(lua, -1);
    sandbox_protect(lua);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -3, "_G");
    lua_pushvalue(lua, -1);
    set_registered(lua, &key_globals);
    lua_replace(lua, LUA_GLOBALSINDEX);
    lua_pop(lua, 1);
}

void sandbox_open(struct engine *e)
{
    static const char *const removed[] = {"dofile",  "loadfile", "print",   "newproxy",
                                          "getfenv", "setfenv",  "require", "module"};
    static const char *const libraries[] = {"string", "math",     "table", "coroutine", "cjson",
                                            "struct", "cmsgpack", "bit",   "redis"};
    lua_State *lua = e->lua;
    open_library(lua, "", luaopen_base);
    open_library(lua, LUA_TABLIBNAME, luaopen_table);
    open_library(lua, LUA_STRLIBNAME, luaopen_string);
    open_library(lua, LUA_MATHLIBNAME, luaopen_math);
    for (size_t i = 0; i < ARRAY_LEN(removed); i++) {
        bool old = i >= 3 && i <= 5;
        if (!old || !e->scripts->settings->deprecated_api) {
            remove_global(lua, removed[i]);
        }
    }
    open_library(lua, "cjson", lib_json_open);
    open_library(lua, "struct", lib_struct_open);
    open_library(lua, "cmsgpack", lib_msgpack_open);
    open_library(lua, "bit", lib_bit_open);
    replace_functions(lua);
    api_open(e);
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
        protect_global(lua, libraries[i]);
    }
    protect_strings(lua);
    protect_globals(lua);
    INVARIANT(lua_gettop(lua) == 0);
}
