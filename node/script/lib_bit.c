// SPDX-License-Identifier: BSD-3-Clause
/* The library `bit`: operations on 32 bits, in the semantics of Lua BitOp 1.0. */
#include "node/script/script_priv.h"

#include <limits.h>

/* A number modulo 2^32: the trick of adding 1.5 * 2^52 leaves its bits, rounded, in the low half.
 */
static uint32_t bits_of(lua_State *lua, int i)
{
    union {
        double number;
        uint64_t bits;
    } v = {.number = luaL_checknumber(lua, i) + 6755399441055744.0};
    return (uint32_t)v.bits;
}

static int give(lua_State *lua, uint32_t v)
{
    lua_pushnumber(lua, (lua_Number)(int32_t)v);
    return 1;
}

static int bit_tobit(lua_State *lua)
{
    return give(lua, bits_of(lua, 1));
}

static int bit_bnot(lua_State *lua)
{
    return give(lua, ~bits_of(lua, 1));
}

static int bit_band(lua_State *lua)
{
    uint32_t v = bits_of(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--) {
        v &= bits_of(lua, i);
    }
    return give(lua, v);
}

static int bit_bor(lua_State *lua)
{
    uint32_t v = bits_of(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--) {
        v |= bits_of(lua, i);
    }
    return give(lua, v);
}

static int bit_bxor(lua_State *lua)
{
    uint32_t v = bits_of(lua, 1);
    for (int i = lua_gettop(lua); i > 1; i--) {
        v ^= bits_of(lua, i);
    }
    return give(lua, v);
}

static int bit_lshift(lua_State *lua)
{
    uint32_t v = bits_of(lua, 1);
    return give(lua, v << (bits_of(lua, 2) & 31));
}

static int bit_rshift(lua_State *lua)
{
    uint32_t v = bits_of(lua, 1);
    return give(lua, v >> (bits_of(lua, 2) & 31));
}

static int bit_arshift(lua_State *lua)
{
    int32_t v = (int32_t)bits_of(lua, 1);
    return give(lua, (uint32_t)(v >> (bits_of(lua, 2) & 31)));
}

static uint32_t rotate_left(uint32_t v, uint32_t n)
{
    n &= 31;
    return n == 0 ? v : v << n | v >> (32 - n);
}

static int bit_rol(lua_State *lua)
{
    uint32_t v = bits_of(lua, 1);
    return give(lua, rotate_left(v, bits_of(lua, 2)));
}

static int bit_ror(lua_State *lua)
{
    uint32_t v = bits_of(lua, 1);
    return give(lua, rotate_left(v, 0u - bits_of(lua, 2)));
}

static int bit_bswap(lua_State *lua)
{
    return give(lua, __builtin_bswap32(bits_of(lua, 1)));
}

/* At most eight digits of the low end; capitals for a negative count. */
static int bit_tohex(lua_State *lua)
{
    uint32_t v = bits_of(lua, 1);
    int32_t n = lua_isnone(lua, 2) ? 8 : (int32_t)bits_of(lua, 2);
    const char *digits = n < 0 ? "0123456789ABCDEF" : "0123456789abcdef";
    uint32_t count = n < 0 ? 0u - (uint32_t)n : (uint32_t)n;
    count = MIN(count, 8u);
    char text[8];
    for (uint32_t i = count; i > 0; i--) {
        text[i - 1] = digits[v & 15];
        v >>= 4;
    }
    lua_pushlstring(lua, text, count);
    return 1;
}

int lib_bit_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"tobit", bit_tobit},   {"bnot", bit_bnot},       {"band", bit_band},
        {"bor", bit_bor},       {"bxor", bit_bxor},       {"lshift", bit_lshift},
        {"rshift", bit_rshift}, {"arshift", bit_arshift}, {"rol", bit_rol},
        {"ror", bit_ror},       {"bswap", bit_bswap},     {"tohex", bit_tohex},
        {NULL, NULL},
    };
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    lua_setglobal(lua, "bit");
    return 0;
}
