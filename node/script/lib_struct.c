// SPDX-License-Identifier: BSD-3-Clause
/* The library `struct`: values as the bytes of C structures, and back. Formats:
 *
 *   < >           byte order: little, big      !n  alignment to at most n (a power of two)
 *   x             a byte of padding            b/B h/H i/In l/L T   integers, signed and not
 *   f d           float, double                s   string up to a NUL
 *   cn            n bytes; c0: as many as the string has, or as the number before says
 *
 * What is read is checked before it is touched; sums of sizes cannot run over. */
#include "node/script/script_priv.h"

#include <ctype.h>
#include <limits.h>

#define INTEGER_MAX 32 /* bytes of an integer in a format */
#define ALIGN_MAX   8

struct layout {
    const char *at; /* in the format */
    bool big;
    unsigned align;
};

struct option {
    char kind;
    size_t size;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t read_count(lua_State *lua, struct layout *f, size_t otherwise)
{
    if (!is_digit(*f->at)) {
        return otherwise;
    }
    size_t n = 0;
    while (is_digit(*f->at)) {
        size_t digit = (size_t)(*f->at++ - '0');
        if (n > (INT_MAX - digit) / 10) {
            luaL_error(lua, "integral size overflow");
        }
        n = n * 10 + digit;
    }
    return n;
}

/* The next option; *controls* (order, alignment, blanks) have a size of 0. */
static struct option next_option(lua_State *lua, struct layout *f)
{
    struct option o = {.kind = *f->at++};
    switch (o.kind) {
    case 'b':
    case 'B':
    case 'x':
        o.size = 1;
        break;
    case 'h':
    case 'H':
        o.size = sizeof(short);
        break;
    case 'l':
    case 'L':
        o.size = sizeof(long);
        break;
    case 'T':
        o.size = sizeof(size_t);
        break;
    case 'f':
        o.size = sizeof(float);
        break;
    case 'd':
        o.size = sizeof(double);
        break;
    case 'c':
        o.size = read_count(lua, f, 1);
        break;
    case 'i':
    case 'I':
        o.size = read_count(lua, f, sizeof(int));
        if (o.size > INTEGER_MAX) {
            luaL_error(lua, "integral size %d is larger than limit of %d", (int)o.size,
                       INTEGER_MAX);
        }
        break;
    default:
        break;
    }
    return o;
}

/* Padding before the option at that offset. */
static size_t padding(const struct layout *f, const struct option *o, size_t offset)
{
    size_t align = MIN(o->size, (size_t)f->align);
    if (align <= 1 || o->kind == 'c') {
        return 0;
    }
    /* Integers may have odd sizes: then nothing is aligned well, as in the original. */
    return (align - (offset & (align - 1))) & (align - 1);
}

static void control(lua_State *lua, struct layout *f, char kind)
{
    switch (kind) {
    case ' ':
        return;
    case '>':
        f->big = true;
        return;
    case '<':
        f->big = false;
        return;
    case '!': {
        size_t align = read_count(lua, f, ALIGN_MAX);
        if (align == 0 || (align & (align - 1)) != 0) {
            luaL_error(lua, "alignment %d is not a power of 2", (int)align);
        }
        f->align = (unsigned)align;
        return;
    }
    default: {
        const char *text = lua_pushfstring(lua, "invalid format option '%c'", kind);
        luaL_argerror(lua, 1, text);
    }
    }
}

/* ---- packing ---- */

static void put_integer(lua_State *lua, luaL_Buffer *b, int arg, bool big, size_t size)
{
    lua_Number n = luaL_checknumber(lua, arg);
    uint64_t v;
    if (n < 0) {
        v = n >= -9223372036854775808.0 ? (uint64_t)(int64_t)n : (uint64_t)INT64_MIN;
    } else {
        v = n < 18446744073709551616.0 ? (uint64_t)n : 0;
    }
    char bytes[INTEGER_MAX];
    for (size_t i = 0; i < size; i++) {
        /* Behind the eighth byte there is nothing of it. */
        char byte = (char)(i < sizeof(v) ? v >> (8 * i) & 0xff : 0);
        bytes[big ? size - 1 - i : i] = byte;
    }
    luaL_addlstring(b, bytes, size);
}

static void put_float(luaL_Buffer *b, const void *value, size_t size, bool big)
{
    char bytes[sizeof(double)];
    for (size_t i = 0; i < size; i++) {
        bytes[big ? size - 1 - i : i] = ((const char *)value)[i];
    }
    luaL_addlstring(b, bytes, size);
}

static size_t put_string(lua_State *lua, luaL_Buffer *b, int arg, struct option *o)
{
    size_t len;
    const char *s = luaL_checklstring(lua, arg, &len);
    if (o->size == 0) {
        o->size = len;
    }
    luaL_argcheck(lua, len >= o->size, arg + 1, "string too short");
    luaL_addlstring(b, s, o->size);
    if (o->kind == 's') {
        luaL_addchar(b, '\0');
        return o->size + 1;
    }
    return o->size;
}

/* Writes the option's value; returns the bytes it took. */
static size_t put_option(lua_State *lua, luaL_Buffer *b, struct layout *f, struct option *o,
                         int *arg)
{
    switch (o->kind) {
    case 'b':
    case 'B':
    case 'h':
    case 'H':
    case 'l':
    case 'L':
    case 'T':
    case 'i':
    case 'I':
        put_integer(lua, b, (*arg)++, f->big, o->size);
        return o->size;
    case 'x':
        luaL_addchar(b, '\0');
        return 1;
    case 'f': {
        float v = (float)luaL_checknumber(lua, (*arg)++);
        put_float(b, &v, sizeof(v), f->big);
        return o->size;
    }
    case 'd': {
        double v = luaL_checknumber(lua, (*arg)++);
        put_float(b, &v, sizeof(v), f->big);
        return o->size;
    }
    case 'c':
    case 's':
        return put_string(lua, b, (*arg)++, o);
    default:
        control(lua, f, o->kind);
        return 0;
    }
}

static int struct_pack(lua_State *lua)
{
    luaL_Buffer b;
    struct layout f = {.at = luaL_checkstring(lua, 1), .align = 1};
    int arg = 2;
    size_t total = 0;
    lua_pushnil(lua); /* an argument that is missing is nil, not what the buffer keeps here */
    luaL_buffinit(lua, &b);
    while (*f.at != '\0') {
        struct option o = next_option(lua, &f);
        size_t pad = padding(&f, &o, total);
        total += pad;
        while (pad-- > 0) {
            luaL_addchar(&b, '\0');
        }
        total += put_option(lua, &b, &f, &o, &arg);
    }
    luaL_pushresult(&b);
    return 1;
}

/* ---- unpacking ---- */

static lua_Number get_integer(const char *from, size_t size, bool big, bool is_signed)
{
    uint64_t v = 0;
    size_t count = MIN(size, sizeof(v));
    for (size_t i = 0; i < count; i++) {
        size_t at = big ? size - 1 - i : i;
        v |= (uint64_t)(unsigned char)from[at] << (8 * i);
    }
    if (!is_signed) {
        return (lua_Number)v;
    }
    if (size > 0 && size < sizeof(v) && (v & 1ULL << (8 * size - 1)) != 0) {
        v |= ~0ULL << (8 * size);
    }
    return (lua_Number)(int64_t)v;
}

static void get_float(const char *from, void *value, size_t size, bool big)
{
    for (size_t i = 0; i < size; i++) {
        ((char *)value)[i] = from[big ? size - 1 - i : i];
    }
}

#define TOO_SHORT "data string too short"

/* 'c': what c0 needs stands on the stack, as the value before. */
static size_t get_bytes(lua_State *lua, const char *data, size_t left, size_t size, int *results)
{
    if (size == 0) {
        if (*results == 0 || lua_type(lua, -1) != LUA_TNUMBER) {
            luaL_error(lua, "format 'c0' needs a previous size");
        }
        lua_Number n = lua_tonumber(lua, -1);
        lua_pop(lua, 1);
        (*results)--;
        luaL_argcheck(lua, n >= 0 && n <= (lua_Number)left, 2, TOO_SHORT);
        size = (size_t)n;
    }
    luaL_argcheck(lua, size <= left, 2, TOO_SHORT);
    lua_pushlstring(lua, data, size);
    return size;
}

/* Pushes the value at `data`, of which `left` bytes are there; returns its size. */
static size_t get_option(lua_State *lua, struct layout *f, const struct option *o, const char *data,
                         size_t left, int *results)
{
    switch (o->kind) {
    case 'b':
    case 'B':
    case 'h':
    case 'H':
    case 'l':
    case 'L':
    case 'T':
    case 'i':
    case 'I': {
        bool is_signed = o->kind >= 'a';
        lua_pushnumber(lua, get_integer(data, o->size, f->big, is_signed));
        break;
    }
    case 'x':
        return 1;
    case 'f': {
        float v;
        get_float(data, &v, sizeof(v), f->big);
        lua_pushnumber(lua, v);
        break;
    }
    case 'd': {
        double v;
        get_float(data, &v, sizeof(v), f->big);
        lua_pushnumber(lua, v);
        break;
    }
    case 'c': {
        size_t size = get_bytes(lua, data, left, o->size, results);
        (*results)++;
        return size;
    }
    case 's': {
        const char *end = left == 0 ? NULL : memchr(data, '\0', left);
        if (end == NULL) {
            luaL_error(lua, "unfinished string in data");
        }
        size_t size = (size_t)(end - data);
        lua_pushlstring(lua, data, size);
        (*results)++;
        return size + 1;
    }
    default:
        control(lua, f, o->kind);
        return 0;
    }
    (*results)++;
    return o->size;
}

static int struct_unpack(lua_State *lua)
{
    struct layout f = {.at = luaL_checkstring(lua, 1), .align = 1};
    size_t len;
    const char *data = luaL_checklstring(lua, 2, &len);
    lua_Number from = luaL_optnumber(lua, 3, 1);
    int results = 0;
    luaL_argcheck(lua, !(from >= 0 && from < 1), 3, "offset must be 1 or greater");
    size_t at = from >= 1 && from < 9007199254740992.0 ? (size_t)from - 1 : SIZE_MAX / 2;
    lua_settop(lua, 2);
    while (*f.at != '\0') {
        struct option o = next_option(lua, &f);
        size_t pad = padding(&f, &o, at);
        luaL_argcheck(lua, at <= len && pad <= len - at && o.size <= len - at - pad, 2, TOO_SHORT);
        at += pad;
        luaL_checkstack(lua, 3, "too many results");
        at += get_option(lua, &f, &o, data + at, len - at, &results);
    }
    lua_pushnumber(lua, (lua_Number)at + 1);
    return results + 1;
}

static int struct_size(lua_State *lua)
{
    struct layout f = {.at = luaL_checkstring(lua, 1), .align = 1};
    size_t total = 0;
    while (*f.at != '\0') {
        struct option o = next_option(lua, &f);
        if (o.kind == 's') {
            luaL_argerror(lua, 1, "option 's' has no fixed size");
        } else if (o.kind == 'c' && o.size == 0) {
            luaL_argerror(lua, 1, "option 'c0' has no fixed size");
        }
        size_t pad = padding(&f, &o, total);
        if (total > (size_t)1 << 62) {
            luaL_error(lua, "integral size overflow");
        }
        total += pad + o.size;
        if (!isalnum((unsigned char)o.kind)) {
            control(lua, &f, o.kind);
        }
    }
    lua_pushnumber(lua, (lua_Number)total);
    return 1;
}

int lib_struct_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"pack", struct_pack}, {"unpack", struct_unpack}, {"size", struct_size}, {NULL, NULL}};
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    lua_setglobal(lua, "struct");
    return 0;
}
