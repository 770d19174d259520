// SPDX-License-Identifier: BSD-3-Clause
/* A Lua state: made, compiled into, called, cleaned. */
#include "node/script/script_priv.h"

#include "common/base/mem.h"

#include <stdio.h>

/* Garbage is collected a step each so many runs. */
#define RUNS_PER_STEP 50
#define STEP_SIZE     50
/* From here on an allocation that fails is an error in the script and not the end of the node. */
#define LARGE (1 << 20)
/* Tables that refer to one table many times grow without bounds when they are written out. */
#define TEXT_MAX ((size_t)4 << 30)

static void *allocate(void *ud, void *ptr, size_t old, size_t size)
{
    struct engine *e = ud;
    void *out = NULL;
    size_t max = e->scripts->settings->memory_max;
    if (UNLIKELY(max != 0) && size > (ptr == NULL ? 0 : old) && e->bytes + size > max) {
        return NULL;
    }
    if (size == 0) {
        mem_free(ptr);
    } else if (size < LARGE) {
        out = mem_realloc(ptr, size);
    } else {
        out = mem_try_alloc(size);
        if (out == NULL) {
            return NULL;
        }
        if (ptr != NULL) {
            memcpy(out, ptr, MIN(old, size));
            mem_free(ptr);
        }
    }
    e->bytes += size - (ptr == NULL ? 0 : old);
    return out;
}

static void on_tick(lua_State *lua, lua_Debug *ar)
{
    (void)ar;
    script_tick(lua);
}

struct engine *engine_new(struct scripts *s, enum engine_kind kind)
{
    struct engine *e = mem_zalloc(sizeof(*e));
    e->kind = kind;
    e->scripts = s;
    e->lua = lua_newstate(allocate, e);
    INVARIANT(e->lua != NULL);
    sandbox_open(e);
    engine_seed(e, 0);
    /* Coroutines inherit it, so it is always there. */
    (void)lua_sethook(e->lua, on_tick, LUA_MASKCOUNT, TICK_INSTRUCTIONS);
    (void)lua_gc(e->lua, LUA_GCCOLLECT, 0);
    return e;
}

void engine_free(struct engine **ep)
{
    struct engine *e = *ep;
    *ep = NULL;
    if (e == NULL) {
        return;
    }
    lua_close(e->lua);
    INVARIANT(e->bytes == 0);
    outbuf_fini(&e->reply);
    str_fini(&e->flat);
    str_fini(&e->numbers);
    str_fini(&e->json);
    mem_free(e->argv);
    mem_free(e);
}

/* ---- compiling ---- */

struct source {
    struct slice left;
    bool blank; /* a blank comes first */
};

static const char *read_source(lua_State *lua, void *ud, size_t *size)
{
    (void)lua;
    struct source *in = ud;
    if (in->blank) {
        in->blank = false;
        *size = 1;
        return " ";
    }
    *size = in->left.len;
    in->left.len = 0;
    return in->left.ptr;
}

bool engine_compile(struct engine *e, struct slice code, const char *name, const char **error)
{
    lua_State *lua = e->lua;
    *error = source_too_long(code);
    if (*error != NULL) {
        lua_pushstring(lua, *error);
        return false;
    }
    /* Behind a blank, what looks like compiled code is only bad source. */
    struct source in = {.left = code, .blank = code.len > 0 && code.ptr[0] == LUA_SIGNATURE[0]};
    sandbox_restore(lua);
    /* The parser holds this string without telling the garbage collector: it has to live. */
    lua_pushstring(lua, name);
    int failed = lua_load(lua, read_source, &in, name);
    lua_remove(lua, -2);
    if (failed != 0) {
        *error = lua_tostring(lua, -1);
    }
    return failed == 0;
}

/* ---- random numbers: the generator of drand48, as Redis uses it ---- */

void engine_seed(struct engine *e, uint64_t seed)
{
    e->random = (seed & 0xffffffff) << 16 | 0x330e;
}

int32_t engine_random(struct engine *e)
{
    e->random = (e->random * 0x5deece66dULL + 0xb) & 0xffffffffffffULL;
    return (int32_t)(e->random >> 17);
}

/* ---- calling ---- */

/* Of the error on top, with where it came from, a table that error_take understands. */
static int explain(lua_State *lua)
{
    lua_Debug at;
    bool known = lua_getstack(lua, 1, &at) != 0 && lua_getinfo(lua, "Sl", &at) != 0;
    if (known && at.what[0] == 'C') {
        known = lua_getstack(lua, 2, &at) != 0 && lua_getinfo(lua, "Sl", &at) != 0;
    }
    if (!lua_istable(lua, 1)) {
        const char *text;
        switch (lua_type(lua, 1)) {
        case LUA_TSTRING:
        case LUA_TNUMBER:
            text = lua_tostring(lua, 1);
            break;
        case LUA_TBOOLEAN:
            text = lua_toboolean(lua, 1) ? "true" : "false";
            break;
        case LUA_TNIL:
            text = "nil";
            break;
        default:
            text = luaL_typename(lua, 1);
            break;
        }
        lua_newtable(lua);
        lua_pushfstring(lua, "ERR %s", text);
        lua_setfield(lua, -2, "err");
        lua_replace(lua, 1);
    } else if (sandbox_behind(lua, 1)) {
        lua_newtable(lua);
        lua_replace(lua, 1);
    }
    lua_settop(lua, 1);
    if (known) {
        lua_pushliteral(lua, "source");
        lua_pushstring(lua, at.source);
        lua_rawset(lua, 1);
        lua_pushliteral(lua, "line");
        lua_pushinteger(lua, at.currentline);
        lua_rawset(lua, 1);
    }
    return 1;
}

bool engine_call(struct engine *e, int n)
{
    lua_State *lua = e->lua;
    int at = lua_gettop(lua) - n;
    lua_pushcfunction(lua, explain);
    lua_insert(lua, at);
    int failed = lua_pcall(lua, n, 1, at);
    lua_remove(lua, at);
    return failed == 0;
}

/* The table on top has a field of that name, of bytes: pushed. */
static bool raw_string(lua_State *lua, const char *name)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == LUA_TSTRING) {
        return true;
    }
    lua_pop(lua, 1);
    return false;
}

static struct slice string_at(lua_State *lua, int index)
{
    size_t len;
    const char *ptr = lua_tolstring(lua, index, &len);
    return slice_of(ptr, len);
}

static void add_place(lua_State *lua, const char *name, struct str *to)
{
    if (name != NULL) {
        str_printf(to, " script: %s", name);
    }
    if (!raw_string(lua, "source")) {
        return;
    }
    lua_pushliteral(lua, "line");
    lua_rawget(lua, -3);
    if (name != NULL && lua_type(lua, -1) == LUA_TNUMBER) {
        str_printf(to, ", on %.200s:%d.", lua_tostring(lua, -2), (int)lua_tointeger(lua, -1));
    }
    lua_pop(lua, 2);
}

void error_take(lua_State *lua, const char *name, struct script_error *out)
{
    *out = (struct script_error){0};
    if (!lua_istable(lua, -1)) {
        /* Memory was out, or the error was in the making of the error. */
        struct slice text = lua_isstring(lua, -1) ? string_at(lua, -1) : SLICE("unknown error");
        str_appendz(&out->text, "ERR ");
        str_append_slice(&out->text, text);
        lua_pop(lua, 1);
        return;
    }
    if (raw_string(lua, "err")) {
        str_append_slice(&out->text, string_at(lua, -1));
        lua_pop(lua, 1);
    } else {
        str_appendz(&out->text, "ERR unknown error");
    }
    add_place(lua, name, &out->text);
    lua_pushliteral(lua, "ignore_error_stats_update");
    lua_rawget(lua, -2);
    out->counted = lua_toboolean(lua, -1);
    lua_pop(lua, 2);
}

void engine_check_text(struct engine *e, lua_State *lua, const struct str *text)
{
    size_t max = e->scripts->settings->memory_max;
    if (text->len > (max == 0 ? TEXT_MAX : max)) {
        luaL_error(lua, "text too long");
    }
}

void engine_rest(struct engine *e)
{
    lua_State *lua = e->lua;
    if (e->gc_touched) {
        e->gc_touched = false;
        (void)lua_gc(lua, LUA_GCSETPAUSE, 200);
        (void)lua_gc(lua, LUA_GCSETSTEPMUL, 200);
        (void)lua_gc(lua, LUA_GCRESTART, 0);
    }
    (void)lua_sethook(lua, on_tick, LUA_MASKCOUNT, TICK_INSTRUCTIONS); /* a kill changes it */
    e->runs++;
    if (e->runs % RUNS_PER_STEP == 0) {
        (void)lua_gc(lua, LUA_GCSTEP, STEP_SIZE);
    }
    if (e->json.cap > LARGE) {
        str_fini(&e->json);
    }
    if (e->flat.cap > LARGE) {
        str_fini(&e->flat);
    }
}
