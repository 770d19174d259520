// SPDX-License-Identifier: BSD-3-Clause
/* The library `cjson`, as lua-cjson 2.1 has it: the same functions, settings, leniences and errors.
 * Each instance (cjson.new) has settings of its own; they stay between scripts. */
#include "node/script/script_priv.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { OFF, ON, AS_NULL };

struct json {
    int sparse_convert;
    int sparse_ratio;
    int sparse_safe;
    int encode_depth_max;
    int decode_depth_max;
    int precision;
    int keep_buffer; /* has no effect: the buffer is always kept */
    int encode_invalid;
    int decode_invalid;
};

static struct json *json_of(lua_State *lua)
{
    return lua_touserdata(lua, lua_upvalueindex(1));
}

/* ---- settings ---- */

static void take_arguments(lua_State *lua, int n)
{
    luaL_argcheck(lua, lua_gettop(lua) <= n, n + 1, "found too many arguments");
    lua_settop(lua, n);
}

static void integer_setting(lua_State *lua, int arg, int *value, int min, int max)
{
    if (!lua_isnil(lua, arg)) {
        lua_Integer v = luaL_checkinteger(lua, arg);
        if (v < min || v > max) {
            luaL_argerror(lua, arg,
                          lua_pushfstring(lua, "expected integer between %d and %d", min, max));
        }
        *value = (int)v;
    }
    lua_pushinteger(lua, *value);
}

/* `words`: off, on, and maybe null. */
static void choice_setting(lua_State *lua, int arg, int *value, const char *const *words)
{
    if (lua_isboolean(lua, arg)) {
        *value = lua_toboolean(lua, arg) ? ON : OFF;
    } else if (!lua_isnil(lua, arg)) {
        *value = luaL_checkoption(lua, arg, NULL, words);
    }
    if (*value == AS_NULL) {
        lua_pushliteral(lua, "null");
    } else {
        lua_pushboolean(lua, *value == ON);
    }
}

static const char *const on_off[] = {"off", "on", NULL};
static const char *const on_off_null[] = {"off", "on", "null", NULL};

static int set_sparse_array(lua_State *lua)
{
    struct json *j = json_of(lua);
    take_arguments(lua, 3);
    choice_setting(lua, 1, &j->sparse_convert, on_off);
    integer_setting(lua, 2, &j->sparse_ratio, 0, INT_MAX);
    integer_setting(lua, 3, &j->sparse_safe, 0, INT_MAX);
    return 3;
}

static int set_encode_max_depth(lua_State *lua)
{
    take_arguments(lua, 1);
    integer_setting(lua, 1, &json_of(lua)->encode_depth_max, 1, INT_MAX);
    return 1;
}

static int set_decode_max_depth(lua_State *lua)
{
    take_arguments(lua, 1);
    integer_setting(lua, 1, &json_of(lua)->decode_depth_max, 1, INT_MAX);
    return 1;
}

static int set_number_precision(lua_State *lua)
{
    take_arguments(lua, 1);
    integer_setting(lua, 1, &json_of(lua)->precision, 1, 14);
    return 1;
}

static int set_keep_buffer(lua_State *lua)
{
    take_arguments(lua, 1);
    choice_setting(lua, 1, &json_of(lua)->keep_buffer, on_off);
    return 1;
}

static int set_encode_invalid_numbers(lua_State *lua)
{
    take_arguments(lua, 1);
    choice_setting(lua, 1, &json_of(lua)->encode_invalid, on_off_null);
    return 1;
}

static int set_decode_invalid_numbers(lua_State *lua)
{
    take_arguments(lua, 1);
    choice_setting(lua, 1, &json_of(lua)->decode_invalid, on_off);
    return 1;
}

/* ---- encoding, into the engine's buffer ---- */

struct encoder {
    lua_State *lua;
    const struct json *j;
    struct str *to;
    int depth;
};

static void encode_value(struct encoder *e);

static void cannot(struct encoder *e, int index, const char *why)
{
    luaL_error(e->lua, "Cannot serialise %s: %s", luaL_typename(e->lua, index), why);
}

static void encode_string(struct encoder *e, int index)
{
    size_t len;
    const char *s = lua_tolstring(e->lua, index, &len);
    str_append_char(e->to, '"');
    size_t from = 0; /* what needs no escape is copied in one piece */
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != 0x7f && c != '"' && c != '\\' && c != '/') {
            continue;
        }
        static const char shorts[] = "\"\"\\\\//\bb\ff\nn\rr\tt";
        const char *pair = NULL;
        for (size_t k = 0; k + 1 < sizeof(shorts) && pair == NULL; k += 2) {
            pair = (unsigned char)shorts[k] == c ? &shorts[k] : NULL;
        }
        str_append(e->to, s + from, i - from);
        from = i + 1;
        if (pair != NULL) {
            str_append_char(e->to, '\\');
            str_append_char(e->to, pair[1]);
        } else {
            str_printf(e->to, "\\u%04x", c);
        }
    }
    str_append(e->to, s + from, len - from);
    str_append_char(e->to, '"');
}

static void encode_number(struct encoder *e, int index)
{
    lua_Number n = lua_tonumber(e->lua, index);
    if (!isfinite(n)) {
        if (e->j->encode_invalid == OFF) {
            cannot(e, index, "must not be NaN or Inf");
        }
        str_appendz(e->to, e->j->encode_invalid == AS_NULL ? "null"
                           : isnan(n)                      ? "nan"
                           : n > 0                         ? "inf"
                                                           : "-inf");
        return;
    }
    str_printf(e->to, "%.*g", e->j->precision, n);
}

/* How many elements the table on top has as an array; -1: it is none. */
static int array_length(struct encoder *e)
{
    int max = 0;
    int items = 0;
    lua_pushnil(e->lua);
    while (lua_next(e->lua, -2)) {
        lua_Number k = lua_type(e->lua, -2) == LUA_TNUMBER ? lua_tonumber(e->lua, -2) : 0;
        if (!(k >= 1 && k < INT_MAX) || floor(k) != k) {
            lua_pop(e->lua, 2);
            return -1;
        }
        max = MAX(max, (int)k);
        items++;
        lua_pop(e->lua, 1);
    }
    const struct json *j = e->j;
    if (j->sparse_ratio > 0 && max > (int64_t)items * j->sparse_ratio && max > j->sparse_safe) {
        if (j->sparse_convert == OFF) {
            cannot(e, -1, "excessively sparse array");
        }
        return -1;
    }
    return max;
}

static void encode_array(struct encoder *e, int n)
{
    str_append_char(e->to, '[');
    for (int i = 1; i <= n; i++) {
        if (i > 1) {
            str_append_char(e->to, ',');
        }
        lua_rawgeti(e->lua, -1, i);
        encode_value(e);
        lua_pop(e->lua, 1);
    }
    str_append_char(e->to, ']');
}

static void encode_object(struct encoder *e)
{
    bool first = true;
    str_append_char(e->to, '{');
    lua_pushnil(e->lua);
    while (lua_next(e->lua, -2)) {
        if (!first) {
            str_append_char(e->to, ',');
        }
        first = false;
        int type = lua_type(e->lua, -2);
        if (type == LUA_TNUMBER) {
            str_append_char(e->to, '"');
            encode_number(e, -2);
            str_append_char(e->to, '"');
        } else if (type == LUA_TSTRING) {
            encode_string(e, -2);
        } else {
            cannot(e, -2, "table key must be a number or string");
        }
        str_append_char(e->to, ':');
        encode_value(e);
        lua_pop(e->lua, 1);
    }
    str_append_char(e->to, '}');
}

static void encode_table(struct encoder *e)
{
    e->depth++;
    if (e->depth > e->j->encode_depth_max || !lua_checkstack(e->lua, 6)) {
        luaL_error(e->lua, "Cannot serialise, excessive nesting (%d)", e->depth);
    }
    int n = array_length(e);
    if (n > 0) {
        encode_array(e, n);
    } else {
        encode_object(e);
    }
    e->depth--;
}

/* The value on top, left there. */
static void encode_value(struct encoder *e)
{
    engine_check_text(engine_of(e->lua), e->lua, e->to);
    switch (lua_type(e->lua, -1)) {
    case LUA_TSTRING:
        encode_string(e, -1);
        break;
    case LUA_TNUMBER:
        encode_number(e, -1);
        break;
    case LUA_TBOOLEAN:
        str_appendz(e->to, lua_toboolean(e->lua, -1) ? "true" : "false");
        break;
    case LUA_TTABLE:
        encode_table(e);
        break;
    case LUA_TNIL:
        str_appendz(e->to, "null");
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(e->lua, -1) == NULL) {
            str_appendz(e->to, "null");
            break;
        }
        cannot(e, -1, "type not supported");
        break;
    default:
        cannot(e, -1, "type not supported");
    }
}

static int json_encode(lua_State *lua)
{
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    struct encoder e = {.lua = lua, .j = json_of(lua), .to = &engine_of(lua)->json};
    str_clear(e.to);
    encode_value(&e);
    lua_pushlstring(lua, str_cstr(e.to), e.to->len);
    return 1;
}

/* ---- decoding ---- */

enum token_type {
    T_OBJ_BEGIN,
    T_OBJ_END,
    T_ARR_BEGIN,
    T_ARR_END,
    T_STRING,
    T_NUMBER,
    T_BOOLEAN,
    T_NULL,
    T_COLON,
    T_COMMA,
    T_END,
    T_ERROR,
};

static const char *const token_names[] = {
    "T_OBJ_BEGIN", "T_OBJ_END", "T_ARR_BEGIN", "T_ARR_END", "T_STRING", "T_NUMBER",
    "T_BOOLEAN",   "T_NULL",    "T_COLON",     "T_COMMA",   "T_END",
};

struct token {
    enum token_type type;
    size_t at;
    lua_Number number;
    bool boolean;
    const char *error;
};

struct decoder {
    lua_State *lua;
    const struct json *j;
    const char *text; /* with a NUL behind it */
    size_t len;
    size_t at;
    struct str *scratch; /* a T_STRING's bytes */
    int depth;
};

static void bad_token(struct decoder *d, struct token *t, const char *error)
{
    t->type = T_ERROR;
    t->error = error;
    t->at = d->at;
}

static int hex4(const char *s)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)s[i])) {
            return -1;
        }
        int c = tolower((unsigned char)s[i]);
        v = v * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return v;
}

static void put_utf8(struct str *to, unsigned v)
{
    if (v < 0x80) {
        str_append_char(to, (char)v);
        return;
    }
    if (v < 0x800) {
        str_append_char(to, (char)(0xc0 | v >> 6));
    } else {
        if (v < 0x10000) {
            str_append_char(to, (char)(0xe0 | v >> 12));
        } else {
            str_append_char(to, (char)(0xf0 | v >> 18));
            str_append_char(to, (char)(0x80 | (v >> 12 & 0x3f)));
        }
        str_append_char(to, (char)(0x80 | (v >> 6 & 0x3f)));
    }
    str_append_char(to, (char)(0x80 | (v & 0x3f)));
}

/* At the '\' of \uXXXX, or of two that make one character. The NUL at the end stops hex4. */
static bool read_unicode(struct decoder *d)
{
    const char *s = d->text + d->at;
    int v = hex4(s + 2);
    size_t used = 6;
    if (v < 0) {
        return false;
    }
    if ((v & 0xf800) == 0xd800) {
        if ((v & 0x400) != 0 || s[6] != '\\' || s[7] != 'u') {
            return false;
        }
        int low = hex4(s + 8);
        if (low < 0 || (low & 0xfc00) != 0xdc00) {
            return false;
        }
        v = ((v & 0x3ff) << 10 | (low & 0x3ff)) + 0x10000;
        used = 12;
    }
    put_utf8(d->scratch, (unsigned)v);
    d->at += used;
    return true;
}

/* At a '\'. NULL, or what is wrong. */
static const char *read_escape(struct decoder *d)
{
    char c = d->text[d->at + 1];
    if (c == 'u') {
        return read_unicode(d) ? NULL : "invalid unicode escape code";
    }
    /* Pairs of what is written and what it means. */
    static const char pairs[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    for (size_t k = 0; c != '\0' && k + 1 < sizeof(pairs); k += 2) {
        if (pairs[k] == c) {
            str_append_char(d->scratch, pairs[k + 1]);
            d->at += 2;
            return NULL;
        }
    }
    return "invalid escape code";
}

static void read_string(struct decoder *d, struct token *t)
{
    str_clear(d->scratch);
    d->at++;
    for (;;) {
        size_t from = d->at;
        while (d->at < d->len && d->text[d->at] != '"' && d->text[d->at] != '\\') {
            d->at++;
        }
        str_append(d->scratch, d->text + from, d->at - from);
        if (d->at >= d->len) {
            bad_token(d, t, "unexpected end of string");
            return;
        }
        if (d->text[d->at] == '"') {
            d->at++;
            t->type = T_STRING;
            return;
        }
        const char *error = read_escape(d);
        if (error != NULL) {
            bad_token(d, t, error);
            return;
        }
    }
}

/* What strtod takes and JSON does not: 0x10, 01, inf, nan. */
static bool is_invalid_number(const char *s)
{
    if (*s == '+') {
        return true;
    }
    s += *s == '-';
    if (*s == '0') {
        return (s[1] | 0x20) == 'x' || isdigit((unsigned char)s[1]);
    }
    return !isdigit((unsigned char)*s) &&
           (strncasecmp(s, "inf", 3) == 0 || strncasecmp(s, "nan", 3) == 0);
}

static void read_number(struct decoder *d, struct token *t)
{
    const char *from = d->text + d->at;
    char *end;
    t->number = strtod(from, &end);
    if (end == from) {
        bad_token(d, t, "invalid number");
        return;
    }
    t->type = T_NUMBER;
    d->at += (size_t)(end - from);
}

static bool read_word(struct decoder *d, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(d->text + d->at, word, n) != 0) {
        return false;
    }
    d->at += n;
    return true;
}

static void read_other(struct decoder *d, struct token *t, char c)
{
    const char *s = d->text + d->at;
    bool invalid_ok = d->j->decode_invalid != OFF;
    if (c == '-' || isdigit((unsigned char)c)) {
        if (!invalid_ok && is_invalid_number(s)) {
            bad_token(d, t, "invalid number");
        } else {
            read_number(d, t);
        }
    } else if (read_word(d, "true") || read_word(d, "false")) {
        t->type = T_BOOLEAN;
        t->boolean = c == 't';
    } else if (read_word(d, "null")) {
        t->type = T_NULL;
    } else if (invalid_ok && is_invalid_number(s)) {
        read_number(d, t);
    } else {
        bad_token(d, t, "invalid token");
    }
}

static void next_token(struct decoder *d, struct token *t)
{
    while (strchr(" \t\r\n", d->text[d->at]) != NULL && d->text[d->at] != '\0') {
        d->at++;
    }
    char c = d->text[d->at];
    *t = (struct token){.at = d->at};
    static const char punctuation[] = "{}[]:,";
    static const enum token_type types[] = {T_OBJ_BEGIN, T_OBJ_END, T_ARR_BEGIN,
                                            T_ARR_END,   T_COLON,   T_COMMA};
    const char *found = c == '\0' ? NULL : strchr(punctuation, c);
    if (c == '\0') {
        t->type = T_END;
    } else if (found != NULL) {
        t->type = types[found - punctuation];
        d->at++;
    } else if (c == '"') {
        read_string(d, t);
    } else {
        read_other(d, t, c);
    }
}

static void unexpected(struct decoder *d, const char *wanted, const struct token *t)
{
    luaL_error(d->lua, "Expected %s but found %s at character %d", wanted,
               t->type == T_ERROR ? t->error : token_names[t->type], (int)t->at + 1);
}

static void descend(struct decoder *d)
{
    d->depth++;
    if (d->depth > d->j->decode_depth_max || !lua_checkstack(d->lua, 6)) {
        luaL_error(d->lua, "Found too many nested data structures (%d) at character %d", d->depth,
                   (int)d->at);
    }
}

static void decode_value(struct decoder *d, const struct token *t);

static void decode_object(struct decoder *d)
{
    struct token t;
    descend(d);
    lua_newtable(d->lua);
    next_token(d, &t);
    if (t.type != T_OBJ_END) {
        for (;;) {
            if (t.type != T_STRING) {
                unexpected(d, "object key string", &t);
            }
            lua_pushlstring(d->lua, str_cstr(d->scratch), d->scratch->len);
            next_token(d, &t);
            if (t.type != T_COLON) {
                unexpected(d, "colon", &t);
            }
            next_token(d, &t);
            decode_value(d, &t);
            lua_rawset(d->lua, -3);
            next_token(d, &t);
            if (t.type == T_OBJ_END) {
                break;
            }
            if (t.type != T_COMMA) {
                unexpected(d, "comma or object end", &t);
            }
            next_token(d, &t);
        }
    }
    d->depth--;
}

static void decode_array(struct decoder *d)
{
    struct token t;
    descend(d);
    lua_newtable(d->lua);
    next_token(d, &t);
    if (t.type != T_ARR_END) {
        for (int i = 1;; i++) {
            decode_value(d, &t);
            lua_rawseti(d->lua, -2, i);
            next_token(d, &t);
            if (t.type == T_ARR_END) {
                break;
            }
            if (t.type != T_COMMA) {
                unexpected(d, "comma or array end", &t);
            }
            next_token(d, &t);
        }
    }
    d->depth--;
}

static void decode_value(struct decoder *d, const struct token *t)
{
    switch (t->type) {
    case T_STRING:
        lua_pushlstring(d->lua, str_cstr(d->scratch), d->scratch->len);
        break;
    case T_NUMBER:
        lua_pushnumber(d->lua, t->number);
        break;
    case T_BOOLEAN:
        lua_pushboolean(d->lua, t->boolean);
        break;
    case T_OBJ_BEGIN:
        decode_object(d);
        break;
    case T_ARR_BEGIN:
        decode_array(d);
        break;
    case T_NULL:
        lua_pushlightuserdata(d->lua, NULL);
        break;
    case T_OBJ_END:
    case T_ARR_END:
    case T_COLON:
    case T_COMMA:
    case T_END:
    case T_ERROR:
        unexpected(d, "value", t);
    }
}

static int json_decode(lua_State *lua)
{
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    struct decoder d = {.lua = lua, .j = json_of(lua), .scratch = &engine_of(lua)->json};
    struct token t;
    d.text = luaL_checklstring(lua, 1, &d.len);
    if (d.len >= 2 && (d.text[0] == '\0' || d.text[1] == '\0')) {
        return luaL_error(lua, "JSON parser does not support UTF-16 or UTF-32");
    }
    next_token(&d, &t);
    decode_value(&d, &t);
    next_token(&d, &t);
    if (t.type != T_END) {
        unexpected(&d, "the end", &t);
    }
    return 1;
}

/* ---- opening ---- */

static int json_new(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"encode", json_encode},
        {"decode", json_decode},
        {"encode_sparse_array", set_sparse_array},
        {"encode_max_depth", set_encode_max_depth},
        {"decode_max_depth", set_decode_max_depth},
        {"encode_number_precision", set_number_precision},
        {"encode_keep_buffer", set_keep_buffer},
        {"encode_invalid_numbers", set_encode_invalid_numbers},
        {"decode_invalid_numbers", set_decode_invalid_numbers},
        {"new", json_new},
        {NULL, NULL},
    };
    lua_newtable(lua);
    struct json *j = lua_newuserdata(lua, sizeof(*j));
    *j = (struct json){
        .sparse_ratio = 2,
        .sparse_safe = 10,
        .encode_depth_max = 1000,
        .decode_depth_max = 1000,
        .precision = 14,
        .keep_buffer = ON,
        .decode_invalid = ON,
    };
    for (const luaL_Reg *r = functions; r->name != NULL; r++) {
        lua_pushvalue(lua, -1);
        lua_pushcclosure(lua, r->func, 1);
        lua_setfield(lua, -3, r->name);
    }
    lua_pop(lua, 1);
    lua_pushlightuserdata(lua, NULL);
    lua_setfield(lua, -2, "null");
    lua_pushliteral(lua, "cjson");
    lua_setfield(lua, -2, "_NAME");
    lua_pushliteral(lua, "2.1.0");
    lua_setfield(lua, -2, "_VERSION");
    return 1;
}

int lib_json_open(lua_State *lua)
{
    (void)json_new(lua);
    lua_setglobal(lua, "cjson");
    return 0;
}
