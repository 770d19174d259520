// SPDX-License-Identifier: BSD-3-Clause
/* The library `cmsgpack`: MessagePack as lua-cmsgpack 0.4 has it. Tables nested deeper than 16 are
 * packed as nil; what is unpacked may nest as deep as Lua's stack goes. */
#include "node/script/script_priv.h"

#include "common/base/mem.h"

#include <limits.h>

#define NESTING_MAX 16

/* ---- packing, into the engine's buffer ---- */

static void put_be(struct str *to, char type, uint64_t v, size_t bytes)
{
    str_append_char(to, type);
    for (size_t i = bytes; i > 0; i--) {
        str_append_char(to, (char)(v >> (8 * (i - 1))));
    }
}

static void pack_integer(struct str *to, int64_t n)
{
    if (n >= 0) {
        if (n <= 127) {
            str_append_char(to, (char)n);
        } else if (n <= UINT8_MAX) {
            put_be(to, (char)0xcc, (uint64_t)n, 1);
        } else if (n <= UINT16_MAX) {
            put_be(to, (char)0xcd, (uint64_t)n, 2);
        } else if (n <= UINT32_MAX) {
            put_be(to, (char)0xce, (uint64_t)n, 4);
        } else {
            put_be(to, (char)0xcf, (uint64_t)n, 8);
        }
    } else if (n >= -32) {
        str_append_char(to, (char)n);
    } else if (n >= INT8_MIN) {
        put_be(to, (char)0xd0, (uint64_t)n, 1);
    } else if (n >= INT16_MIN) {
        put_be(to, (char)0xd1, (uint64_t)n, 2);
    } else if (n >= INT32_MIN) {
        put_be(to, (char)0xd2, (uint64_t)n, 4);
    } else {
        put_be(to, (char)0xd3, (uint64_t)n, 8);
    }
}

static bool is_integer(lua_Number n)
{
    return n >= -9223372036854775808.0 && n < 9223372036854775808.0 && n == (lua_Number)(int64_t)n;
}

static void pack_number(struct str *to, lua_Number n)
{
    if (is_integer(n)) {
        pack_integer(to, (int64_t)n);
        return;
    }
    float f = (float)n;
    uint32_t narrow;
    uint64_t wide;
    memcpy(&narrow, &f, sizeof(narrow));
    memcpy(&wide, &n, sizeof(wide));
    if ((lua_Number)f == n) {
        put_be(to, (char)0xca, narrow, 4);
    } else {
        put_be(to, (char)0xcb, wide, 8);
    }
}

static void pack_string(struct str *to, struct slice v)
{
    if (v.len < 32) {
        str_append_char(to, (char)(0xa0 | v.len));
    } else if (v.len <= UINT8_MAX) {
        put_be(to, (char)0xd9, v.len, 1);
    } else if (v.len <= UINT16_MAX) {
        put_be(to, (char)0xda, v.len, 2);
    } else {
        put_be(to, (char)0xdb, v.len, 4);
    }
    str_append_slice(to, v);
}

/* The keys are 1 to n and no other. */
static bool is_array(lua_State *lua, size_t *count)
{
    size_t n = 0;
    lua_Number max = 0;
    bool array = true;
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pop(lua, 1);
        n++;
        lua_Number key = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
        array = array && key > 0 && is_integer(key);
        max = MAX(max, key);
    }
    *count = n;
    return array && max == (lua_Number)n;
}

static void pack_value(lua_State *lua, struct str *to, int level);

/* The value under the top. */
static void pack_table(lua_State *lua, struct str *to, int level)
{
    size_t n;
    if (is_array(lua, &n)) {
        if (n <= 15) {
            str_append_char(to, (char)(0x90 | n));
        } else {
            put_be(to, (char)(n <= UINT16_MAX ? 0xdc : 0xdd), n, n <= UINT16_MAX ? 2 : 4);
        }
        for (size_t i = 1; i <= n; i++) {
            lua_rawgeti(lua, -1, (int)i);
            pack_value(lua, to, level + 1);
        }
        return;
    }
    if (n <= 15) {
        str_append_char(to, (char)(0x80 | n));
    } else {
        put_be(to, (char)(n <= UINT16_MAX ? 0xde : 0xdf), n, n <= UINT16_MAX ? 2 : 4);
    }
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pushvalue(lua, -2);
        pack_value(lua, to, level + 1);
        pack_value(lua, to, level + 1);
    }
}

/* The value on top, popped. */
static void pack_value(lua_State *lua, struct str *to, int level)
{
    luaL_checkstack(lua, 6, "in function mp_encode_lua_type");
    engine_check_text(engine_of(lua), lua, to);
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING: {
        size_t len;
        const char *ptr = lua_tolstring(lua, -1, &len);
        if (len > UINT32_MAX) {
            luaL_error(lua, "string too long for MessagePack");
        }
        pack_string(to, slice_of(ptr, len));
        break;
    }
    case LUA_TBOOLEAN:
        str_append_char(to, (char)(lua_toboolean(lua, -1) ? 0xc3 : 0xc2));
        break;
    case LUA_TNUMBER:
        pack_number(to, lua_tonumber(lua, -1));
        break;
    case LUA_TTABLE:
        if (level < NESTING_MAX) {
            pack_table(lua, to, level);
            break;
        }
        str_append_char(to, (char)0xc0);
        break;
    default:
        str_append_char(to, (char)0xc0);
        break;
    }
    lua_pop(lua, 1);
}

static int msgpack_pack(lua_State *lua)
{
    int argc = lua_gettop(lua);
    struct str *to = &engine_of(lua)->json;
    if (argc == 0) {
        return luaL_argerror(lua, 0, "MessagePack pack needs input.");
    }
    luaL_checkstack(lua, 4, "Too many arguments for MessagePack pack.");
    str_clear(to);
    for (int i = 1; i <= argc; i++) {
        lua_pushvalue(lua, i);
        pack_value(lua, to, 0);
    }
    lua_pushlstring(lua, str_cstr(to), to->len);
    return 1;
}

/* ---- unpacking ---- */

struct input {
    const unsigned char *at;
    size_t left;
};

static const unsigned char *take(lua_State *lua, struct input *in, size_t n)
{
    if (in->left < n) {
        luaL_error(lua, "Missing bytes in input.");
    }
    const unsigned char *at = in->at;
    in->at += n;
    in->left -= n;
    return at;
}

static uint64_t take_be(lua_State *lua, struct input *in, size_t n)
{
    const unsigned char *at = take(lua, in, n);
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v << 8 | at[i];
    }
    return v;
}

static void unpack_value(lua_State *lua, struct input *in);

static void unpack_string(lua_State *lua, struct input *in, size_t len)
{
    const unsigned char *at = take(lua, in, len);
    lua_pushlstring(lua, (const char *)at, len);
}

static void unpack_array(lua_State *lua, struct input *in, size_t n)
{
    lua_newtable(lua);
    for (size_t i = 1; i <= n; i++) {
        lua_pushnumber(lua, (lua_Number)i);
        unpack_value(lua, in);
        lua_rawset(lua, -3);
    }
}

static void check_key(lua_State *lua, int index)
{
    lua_Number n = lua_tonumber(lua, index);
    if (lua_isnil(lua, index)) {
        lua_pushliteral(lua, "table index is nil");
    } else if (n != n) {
        lua_pushliteral(lua, "table index is NaN");
    } else {
        return;
    }
    (void)lua_error(lua);
}

static void unpack_map(lua_State *lua, struct input *in, size_t n)
{
    lua_newtable(lua);
    for (size_t i = 0; i < n; i++) {
        unpack_value(lua, in);
        unpack_value(lua, in);
        check_key(lua, -2);
        lua_rawset(lua, -3);
    }
}

/* Those that have no length in their first byte. */
static void unpack_plain(lua_State *lua, struct input *in, unsigned type)
{
    switch (type) {
    case 0xc0:
        lua_pushnil(lua);
        return;
    case 0xc2:
    case 0xc3:
        lua_pushboolean(lua, type == 0xc3);
        return;
    case 0xca: {
        uint32_t bits = (uint32_t)take_be(lua, in, 4);
        float f;
        memcpy(&f, &bits, sizeof(f));
        lua_pushnumber(lua, f);
        return;
    }
    case 0xcb: {
        uint64_t bits = take_be(lua, in, 8);
        double d;
        memcpy(&d, &bits, sizeof(d));
        lua_pushnumber(lua, d);
        return;
    }
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        /* Of 64 bits the upper half comes out negative, as from the original. */
        lua_pushnumber(lua, (lua_Number)(int64_t)take_be(lua, in, (size_t)1 << (type - 0xcc)));
        return;
    case 0xd0:
        lua_pushnumber(lua, (int8_t)take_be(lua, in, 1));
        return;
    case 0xd1:
        lua_pushnumber(lua, (int16_t)take_be(lua, in, 2));
        return;
    case 0xd2:
        lua_pushnumber(lua, (int32_t)take_be(lua, in, 4));
        return;
    case 0xd3:
        lua_pushnumber(lua, (lua_Number)(int64_t)take_be(lua, in, 8));
        return;
    case 0xd9:
    case 0xda:
    case 0xdb:
        unpack_string(lua, in, take_be(lua, in, (size_t)1 << (type - 0xd9)));
        return;
    case 0xdc:
    case 0xdd:
        unpack_array(lua, in, take_be(lua, in, (size_t)2 << (type - 0xdc)));
        return;
    case 0xde:
    case 0xdf:
        unpack_map(lua, in, take_be(lua, in, (size_t)2 << (type - 0xde)));
        return;
    default:
        luaL_error(lua, "Bad data format in input.");
    }
}

static void unpack_value(lua_State *lua, struct input *in)
{
    luaL_checkstack(lua, 6,
                    "too many return values at once; use unpack_one or unpack_limit instead.");
    unsigned type = *take(lua, in, 1);
    if (type <= 0x7f) {
        lua_pushnumber(lua, type);
    } else if (type >= 0xe0) {
        lua_pushnumber(lua, (int8_t)type);
    } else if (type <= 0x8f) {
        unpack_map(lua, in, type & 0xf);
    } else if (type <= 0x9f) {
        unpack_array(lua, in, type & 0xf);
    } else if (type <= 0xbf) {
        unpack_string(lua, in, type & 0x1f);
    } else {
        unpack_plain(lua, in, type);
    }
}

/* limit 0: all there are, and only they are returned; else the new offset comes first. */
static int unpack_some(lua_State *lua, int limit, int offset)
{
    size_t len;
    const char *ptr = luaL_checklstring(lua, 1, &len);
    if (offset < 0 || limit < 0) {
        return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.",
                          offset, (int)MIN(len, (size_t)INT_MAX));
    }
    if ((size_t)offset > len) {
        return luaL_error(lua, "Start offset %d greater than input length %d.", offset,
                          (int)MIN(len, (size_t)INT_MAX));
    }
    bool all = limit == 0;
    struct input in = {.at = (const unsigned char *)ptr + offset, .left = len - (size_t)offset};
    lua_settop(lua, 1);
    int n = 0;
    while (in.left > 0 && (all || n < limit)) {
        unpack_value(lua, &in);
        n++;
    }
    if (all) {
        return n;
    }
    luaL_checkstack(lua, 1, "too many return values");
    lua_pushnumber(lua, in.left == 0 ? -1 : (lua_Number)(len - in.left));
    lua_insert(lua, 2);
    return n + 1;
}

static int msgpack_unpack(lua_State *lua)
{
    return unpack_some(lua, 0, 0);
}

static int msgpack_unpack_one(lua_State *lua)
{
    return unpack_some(lua, 1, luaL_optint(lua, 2, 0));
}

static int msgpack_unpack_limit(lua_State *lua)
{
    int limit = luaL_checkint(lua, 2);
    return unpack_some(lua, limit, luaL_optint(lua, 3, 0));
}

int lib_msgpack_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"pack", msgpack_pack},
                                         {"unpack", msgpack_unpack},
                                         {"unpack_one", msgpack_unpack_one},
                                         {"unpack_limit", msgpack_unpack_limit},
                                         {NULL, NULL}};
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    lua_pushliteral(lua, "cmsgpack");
    lua_setfield(lua, -2, "_NAME");
    lua_pushliteral(lua, "lua-cmsgpack 0.4.0");
    lua_setfield(lua, -2, "_VERSION");
    lua_pushliteral(lua, "MessagePack C implementation for Lua");
    lua_setfield(lua, -2, "_DESCRIPTION");
    lua_setglobal(lua, "cmsgpack");
    return 0;
}
