// SPDX-License-Identifier: BSD-3-Clause
/* Replies as Lua values, and Lua values as replies. What RESP3 has and Lua has not is a table with
 * one field that names it: {map = {...}}, {double = 1.5}... */
#include "node/script/script_priv.h"

#include "common/base/num.h"

#include <math.h>

/* ---- RESP to Lua ---- */

struct reader {
    const char *at;
    const char *end;
};

static struct slice take_line(struct reader *r)
{
    const char *cr = memchr(r->at, '\r', (size_t)(r->end - r->at));
    INVARIANT(cr != NULL && cr + 1 < r->end); /* it is our own reply */
    struct slice line = slice_of(r->at, (size_t)(cr - r->at));
    r->at = cr + 2;
    return line;
}

static int64_t take_number(struct reader *r)
{
    int64_t n;
    bool ok = num_parse_i64(take_line(r), &n);
    INVARIANT(ok);
    return n;
}

static struct slice take_bulk(struct reader *r, int64_t len)
{
    INVARIANT(len >= 0 && len + 2 <= r->end - r->at);
    struct slice v = slice_of(r->at, (size_t)len);
    r->at += len + 2;
    return v;
}

static void push_slice(lua_State *lua, struct slice v)
{
    lua_pushlstring(lua, v.ptr, v.len);
}

static void push_named(lua_State *lua, const char *name, struct slice v)
{
    lua_createtable(lua, 0, 1);
    lua_pushstring(lua, name);
    push_slice(lua, v);
    lua_rawset(lua, -3);
}

static void push_value(lua_State *lua, struct reader *r);

static void push_array(lua_State *lua, struct reader *r, int64_t n)
{
    lua_createtable(lua, (int)MIN(n, INT32_MAX), 0);
    for (int64_t i = 1; i <= n; i++) {
        push_value(lua, r);
        lua_rawseti(lua, -2, (int)i);
    }
}

/* {map = {...}}, or {set = {member = true...}}. */
static void push_keyed(lua_State *lua, struct reader *r, int64_t n, bool map)
{
    lua_createtable(lua, 0, 1);
    lua_pushstring(lua, map ? "map" : "set");
    lua_createtable(lua, 0, (int)MIN(n, INT32_MAX));
    for (int64_t i = 0; i < n; i++) {
        push_value(lua, r);
        if (map) {
            push_value(lua, r);
        } else {
            lua_pushboolean(lua, true);
        }
        if (lua_isnil(lua, -2)) {
            lua_pop(lua, 2); /* no key for Lua */
        } else {
            lua_rawset(lua, -3);
        }
    }
    lua_rawset(lua, -3);
}

static void push_verbatim(lua_State *lua, struct slice v)
{
    INVARIANT(v.len >= 4);
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "verbatim_string");
    lua_createtable(lua, 0, 2);
    lua_pushliteral(lua, "string");
    lua_pushlstring(lua, v.ptr + 4, v.len - 4);
    lua_rawset(lua, -3);
    lua_pushliteral(lua, "format");
    lua_pushlstring(lua, v.ptr, 3);
    lua_rawset(lua, -3);
    lua_rawset(lua, -3);
}

static void push_double(lua_State *lua, struct slice text)
{
    double v = NAN; /* RESP has it as a word that no parser takes */
    if (!num_parse_double(text, &v)) {
        v = NAN;
    }
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "double");
    lua_pushnumber(lua, v);
    lua_rawset(lua, -3);
}

/* Attributes are not for scripts. */
static void skip_attribute(lua_State *lua, struct reader *r, int64_t pairs)
{
    for (int64_t i = 0; i < pairs * 2; i++) {
        push_value(lua, r);
        lua_pop(lua, 1);
    }
}

static void push_value(lua_State *lua, struct reader *r)
{
    luaL_checkstack(lua, 8, "lua stack limit reached when parsing redis.call reply");
    INVARIANT(r->at < r->end);
    char type = *r->at++;
    int64_t n;
    switch (type) {
    case ':':
        lua_pushnumber(lua, (lua_Number)take_number(r));
        return;
    case '+':
        push_named(lua, "ok", take_line(r));
        return;
    case '-':
        api_push_error(lua, take_line(r), true);
        return;
    case '(':
        push_named(lua, "big_number", take_line(r));
        return;
    case ',':
        push_double(lua, take_line(r));
        return;
    case '#':
        lua_pushboolean(lua, take_line(r).ptr[0] == 't');
        return;
    case '_':
        (void)take_line(r);
        lua_pushnil(lua);
        return;
    default:
        break;
    }
    n = take_number(r);
    switch (type) {
    case '$':
    case '*':
        if (n < 0) {
            lua_pushboolean(lua, false);
        } else if (type == '*') {
            push_array(lua, r, n);
        } else {
            push_slice(lua, take_bulk(r, n));
        }
        return;
    case '=':
        push_verbatim(lua, take_bulk(r, n));
        return;
    case '>':
        push_array(lua, r, n);
        return;
    case '%':
    case '~':
        push_keyed(lua, r, n, type == '%');
        return;
    case '|':
        skip_attribute(lua, r, n);
        push_value(lua, r);
        return;
    default:
        INVARIANT(false);
    }
}

void convert_to_lua(lua_State *lua, struct slice in)
{
    struct reader r = {.at = in.ptr, .end = in.ptr + in.len};
    push_value(lua, &r);
}

/* ---- Lua to RESP ---- */

struct writing {
    lua_State *lua;
    struct resp_writer *w;
    struct convert *how;
    unsigned depth;
};

static void write_value(struct writing *o);

/* The field of the table on top is of that type: pushed. Scripts' metatables have no say. */
static bool field(lua_State *lua, const char *name, int type)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == type) {
        return true;
    }
    lua_pop(lua, 1);
    return false;
}

static struct slice top_string(lua_State *lua)
{
    size_t len;
    const char *ptr = lua_tolstring(lua, -1, &len);
    return slice_of(ptr, len);
}

/* A number as Redis's C has it: towards zero, and what has no room is the least. */
static int64_t whole(double v)
{
    return v >= -9223372036854775808.0 && v < 9223372036854775808.0 ? (int64_t)v : INT64_MIN;
}

static void write_error_table(struct writing *o)
{
    bool counted = field(o->lua, "err", LUA_TSTRING);
    INVARIANT(counted);
    struct slice text = top_string(o->lua);
    /* The writer stops at a NUL; so does Redis. */
    script_error(o->w, text.ptr, o->how->mark && o->depth == 1);
    lua_pop(o->lua, 1);
    if (field(o->lua, "ignore_error_stats_update", LUA_TBOOLEAN)) {
        o->how->error_counted = true;
        lua_pop(o->lua, 1);
    }
}

static void write_pairs(struct writing *o, bool map)
{
    lua_State *lua = o->lua;
    size_t n = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        n++;
        lua_pop(lua, 1);
    }
    if (map) {
        resp_map(o->w, n);
    } else {
        resp_set(o->w, n);
    }
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pushvalue(lua, -2);
        write_value(o);
        if (map) {
            write_value(o);
        } else {
            lua_pop(lua, 1);
        }
    }
}

static bool write_verbatim(struct writing *o)
{
    lua_State *lua = o->lua;
    if (!field(lua, "format", LUA_TSTRING)) {
        return false;
    }
    char ext[4] = "   ";
    struct slice format = top_string(lua);
    memcpy(ext, format.ptr, MIN(format.len, (size_t)3));
    lua_pop(lua, 1);
    if (!field(lua, "string", LUA_TSTRING)) {
        return false;
    }
    resp_verbatim(o->w, ext, top_string(lua));
    lua_pop(lua, 1);
    return true;
}

static void write_array(struct writing *o)
{
    lua_State *lua = o->lua;
    size_t n = 0;
    for (;;) {
        lua_rawgeti(lua, -1, (int)n + 1);
        bool end = lua_isnil(lua, -1);
        lua_pop(lua, 1);
        if (end) {
            break;
        }
        n++;
    }
    resp_array(o->w, n);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(lua, -1, (int)i);
        write_value(o);
    }
}

static void write_number_text(struct writing *o)
{
    struct str copy = {0};
    str_append_slice(&copy, top_string(o->lua));
    for (size_t i = 0; i < copy.len; i++) {
        char c = copy.ptr[i];
        copy.ptr[i] = (char)(c == '\r' || c == '\n' ? ' ' : c);
    }
    resp_bignum(o->w, str_cstr(&copy));
    str_fini(&copy);
}

static void write_table(struct writing *o)
{
    lua_State *lua = o->lua;
    if (field(lua, "err", LUA_TSTRING)) {
        lua_pop(lua, 1);
        write_error_table(o);
    } else if (field(lua, "ok", LUA_TSTRING)) {
        resp_simple(o->w, lua_tostring(lua, -1));
        lua_pop(lua, 1);
    } else if (field(lua, "double", LUA_TNUMBER)) {
        resp_double(o->w, lua_tonumber(lua, -1));
        lua_pop(lua, 1);
    } else if (field(lua, "map", LUA_TTABLE)) {
        write_pairs(o, true);
        lua_pop(lua, 1);
    } else if (field(lua, "set", LUA_TTABLE)) {
        write_pairs(o, false);
        lua_pop(lua, 1);
    } else if (field(lua, "big_number", LUA_TSTRING)) {
        write_number_text(o);
        lua_pop(lua, 1);
    } else if (field(lua, "verbatim_string", LUA_TTABLE)) {
        bool good = write_verbatim(o);
        lua_pop(lua, 1);
        if (!good) {
            write_array(o);
        }
    } else {
        write_array(o);
    }
}

/* The value on top, popped. */
static void write_value(struct writing *o)
{
    lua_State *lua = o->lua;
    if (o->depth >= o->how->depth_max || !lua_checkstack(lua, 8)) {
        resp_error(o->w, "ERR reached lua stack limit");
        lua_pop(lua, 1);
        return;
    }
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        resp_bulk(o->w, top_string(lua));
        break;
    case LUA_TBOOLEAN:
        if (o->how->resp3) {
            resp_bool(o->w, lua_toboolean(lua, -1));
        } else if (lua_toboolean(lua, -1)) {
            resp_int(o->w, 1);
        } else {
            resp_nil(o->w);
        }
        break;
    case LUA_TNUMBER:
        resp_int(o->w, whole(lua_tonumber(lua, -1)));
        break;
    case LUA_TTABLE:
        o->depth++;
        write_table(o);
        o->depth--;
        break;
    default:
        resp_nil(o->w);
        break;
    }
    lua_pop(lua, 1);
}

void convert_to_reply(lua_State *lua, struct resp_writer *w, struct convert *how)
{
    struct writing o = {.lua = lua, .w = w, .how = how};
    write_value(&o);
}
