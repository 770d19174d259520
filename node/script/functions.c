// SPDX-License-Identifier: BSD-3-Clause
/* Libraries of functions. A change is made whole or not at all: new libraries are compiled and run
 * beside those that there are, then checked against them, then take their place. */
#include "node/script/functions.h"

#include "node/types/rdb.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/words.h"

#include <stdlib.h>

#define BAD_NAME                                                                                   \
    "Library names can only contain letters, numbers, or underscores(_) and must be at least one " \
    "character long"

/* ---- finding ---- */

struct function *functions_find(const struct scripts *s, struct slice name)
{
    uint64_t hash = hash_name(name.ptr, name.len);
    for (struct hmap_node *n = hmap_first(&s->by_name, hash); n != NULL; n = hmap_same(n)) {
        struct function *f = container_of(n, struct function, by_name);
        if (slice_is(name, f->name)) {
            return f;
        }
    }
    return NULL;
}

struct library *functions_library(struct scripts *s, struct slice name)
{
    uint64_t hash = hash_bytes(name.ptr, name.len, s->seed);
    for (struct hmap_node *n = hmap_first(&s->libraries, hash); n != NULL; n = hmap_same(n)) {
        struct library *l = container_of(n, struct library, node);
        if (slice_eq(name, slice_str(l->name))) {
            return l;
        }
    }
    return NULL;
}

/* ---- one library ---- */

static struct library *library_new(struct slice name, struct slice code)
{
    struct library *l = mem_zalloc(sizeof(*l));
    l->name = mem_alloc(name.len + 1);
    memcpy(l->name, name.ptr, name.len);
    l->name[name.len] = '\0';
    str_append_slice(&l->code, code);
    return l;
}

static void library_free(struct scripts *s, struct library *l)
{
    for (struct function *f = l->functions, *next; f != NULL; f = next) {
        next = f->next;
        luaL_unref(s->functions->lua, LUA_REGISTRYINDEX, f->ref);
        mem_free(f->name);
        mem_free(f->description);
        mem_free(f);
    }
    str_fini(&l->code);
    mem_free(l->name);
    mem_free(l);
}

static size_t library_bytes(const struct library *l)
{
    size_t bytes = mem_size(l) + mem_size(l->name) + mem_size(l->code.ptr);
    for (const struct function *f = l->functions; f != NULL; f = f->next) {
        bytes += mem_size(f) + mem_size(f->name) + mem_size(f->description);
    }
    return bytes;
}

static void link_library(struct scripts *s, struct library *l)
{
    hmap_insert(&s->libraries, &l->node, hash_bytes(l->name, strlen(l->name), s->seed));
    for (struct function *f = l->functions; f != NULL; f = f->next) {
        hmap_insert(&s->by_name, &f->by_name, hash_name(f->name, strlen(f->name)));
        s->n_functions++;
    }
    s->library_bytes += library_bytes(l);
}

static void unlink_library(struct scripts *s, struct library *l)
{
    hmap_remove(&s->libraries, &l->node);
    for (struct function *f = l->functions; f != NULL; f = f->next) {
        hmap_remove(&s->by_name, &f->by_name);
        s->n_functions--;
    }
    s->library_bytes -= library_bytes(l);
}

static bool name_ok(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char ch = name.ptr[i];
        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
              ch == '_')) {
            return false;
        }
    }
    return name.len > 0;
}

const char *functions_register(struct engine *e, struct slice name, struct slice description,
                               unsigned flags)
{
    struct library *l = e->scripts->run->library;
    if (!name_ok(name)) {
        return BAD_NAME;
    }
    struct function **last = &l->functions;
    for (; *last != NULL; last = &(*last)->next) {
        if (slice_is(name, (*last)->name)) {
            return "Function already exists in the library";
        }
    }
    int ref = luaL_ref(e->lua, LUA_REGISTRYINDEX); /* first: it may fail */
    struct function *f = mem_zalloc(sizeof(*f));
    f->library = l;
    f->flags = flags;
    f->ref = ref;
    f->name = mem_alloc(name.len + 1);
    memcpy(f->name, name.ptr, name.len);
    f->name[name.len] = '\0';
    if (description.ptr != NULL) {
        f->description = mem_alloc(description.len + 1);
        memcpy(f->description, description.ptr, description.len);
        f->description[description.len] = '\0';
    }
    *last = f;
    return NULL;
}

/* ---- its first line: #!lua name=x ---- */

#define NAME_WORD "name="

/* False: `why`. The slices are into `w`. */
static bool read_metadata(const struct words *w, struct slice *name, struct str *why)
{
    *name = slice_of(NULL, 0);
    for (size_t i = 1; i < w->argc; i++) {
        struct slice word = w->argv[i];
        size_t n = sizeof(NAME_WORD) - 1;
        if (word.len < n || strncasecmp(word.ptr, NAME_WORD, n) != 0) {
            str_printf(why, "ERR Invalid metadata value given: %.*s", (int)MIN(word.len, 1000u),
                       word.ptr);
            return false;
        }
        if (name->ptr != NULL) {
            str_appendz(why, "ERR Invalid metadata value, name argument was given multiple times");
            return false;
        }
        *name = slice_of(word.ptr + n, word.len - n);
    }
    if (name->ptr == NULL) {
        str_appendz(why, "ERR Library name was not given");
        return false;
    }
    if (!name_ok(*name)) {
        str_appendz(why, "ERR " BAD_NAME);
        return false;
    }
    struct slice engine = slice_of(w->argv[0].ptr + 2, w->argv[0].len - 2);
    if (!slice_is(engine, "lua")) {
        str_printf(why, "ERR Engine '%.*s' not found", (int)MIN(engine.len, 1000u), engine.ptr);
        return false;
    }
    return true;
}

/* The library without functions. NULL: `why`. *body is what is to be compiled. */
static struct library *read_head(struct slice code, struct slice *body, struct str *why)
{
    if (code.len < 2 || memcmp(code.ptr, "#!", 2) != 0) {
        str_appendz(why, "ERR Missing library metadata");
        return NULL;
    }
    const char *end = memchr(code.ptr, '\n', code.len);
    struct words w = {0};
    struct library *l = NULL;
    struct slice name;
    size_t len = end == NULL ? 0 : (size_t)(end - code.ptr);
    if (end == NULL || !words_split(&w, slice_of(code.ptr, len)) || w.argc == 0) {
        str_appendz(why, "ERR Invalid library metadata");
    } else if (read_metadata(&w, &name, why)) {
        l = library_new(name, code);
        *body = slice_of(end, code.len - len);
    }
    words_fini(&w);
    return l;
}

/* Runs its code, which registers the functions. */
static bool run_code(struct scripts *s, struct library *l, struct slice body, struct str *why)
{
    struct engine *e = s->functions;
    const char *wrong;
    if (s->run != NULL) {
        str_appendz(why, "ERR A script cannot load a library");
        return false;
    }
    if (!engine_compile(e, body, "@user_function", &wrong)) {
        str_printf(why, "ERR Error compiling function: %s", wrong);
        lua_pop(e->lua, 1);
        return false;
    }
    struct script_run run = {.kind = SCRIPT_FUNCTION,
                             .engine = e,
                             .loading = true,
                             .library = l,
                             .started_us = s->port.now_us(s->port.arg)};
    s->run = &run;
    sandbox_loading(e->lua, true);
    bool good = engine_call(e, 0);
    sandbox_loading(e->lua, false);
    s->run = NULL;
    if (good) {
        lua_pop(e->lua, 1);
        if (l->functions == NULL) {
            str_appendz(why, "ERR No functions registered");
            good = false;
        }
    } else {
        struct script_error error;
        error_take(e->lua, NULL, &error);
        str_printf(why, "ERR Error registering functions: %s", str_cstr(&error.text));
        str_fini(&error.text);
    }
    engine_rest(e);
    return good;
}

/* NULL: `why`. In no table yet. */
static struct library *library_make(struct scripts *s, struct slice code, struct str *why)
{
    struct slice body;
    struct library *l = read_head(code, &body, why);
    if (l != NULL && !run_code(s, l, body, why)) {
        library_free(s, l);
        l = NULL;
    }
    return l;
}

/* ---- changes ---- */

static void push(struct library **list, struct library *l)
{
    l->next = *list;
    *list = l;
}

/* Takes those that go out of the tables; false: the rest stands in the way. */
static bool make_room(struct scripts *s, struct change *ch, struct str *why)
{
    if (ch->policy == LIBRARIES_FLUSH) {
        for (struct hmap_node *n = hmap_begin(&s->libraries), *next; n != NULL; n = next) {
            next = hmap_next(&s->libraries, n);
            struct library *l = container_of(n, struct library, node);
            unlink_library(s, l);
            push(&ch->gone, l);
        }
    }
    for (struct library *l = ch->come; l != NULL; l = l->next) {
        struct library *old = functions_library(s, slice_str(l->name));
        if (old != NULL && ch->policy != LIBRARIES_REPLACE) {
            str_printf(why, "ERR Library %s already exists", l->name);
            return false;
        }
        if (old != NULL) {
            unlink_library(s, old);
            push(&ch->gone, old);
        }
    }
    return true;
}

static bool link_all(struct scripts *s, struct change *ch, struct str *why)
{
    for (struct library *l = ch->come; l != NULL; l = l->next) {
        const char *clash = functions_library(s, slice_str(l->name)) != NULL ? l->name : NULL;
        if (clash != NULL) {
            str_printf(why, "ERR Library %s already exists", clash);
            return false;
        }
        for (struct function *f = l->functions; f != NULL && clash == NULL; f = f->next) {
            clash = functions_find(s, slice_str(f->name)) != NULL ? f->name : NULL;
        }
        if (clash != NULL) {
            str_printf(why, "ERR Function %s already exists", clash);
            return false;
        }
        link_library(s, l);
        l->linked = true;
    }
    return true;
}

bool change_make(struct scripts *s, struct change *ch, struct str *why)
{
    bool good = make_room(s, ch, why) && link_all(s, ch, why);
    if (!good) {
        change_undo(s, ch);
    }
    return good;
}

void change_undo(struct scripts *s, struct change *ch)
{
    for (struct library *l = ch->come, *next; l != NULL; l = next) {
        next = l->next;
        if (l->linked) {
            unlink_library(s, l);
        }
        library_free(s, l);
    }
    for (struct library *l = ch->gone, *next; l != NULL; l = next) {
        next = l->next;
        link_library(s, l);
    }
    *ch = (struct change){0};
}

void change_keep(struct scripts *s, struct change *ch)
{
    for (struct library *l = ch->gone, *next; l != NULL; l = next) {
        next = l->next;
        library_free(s, l);
    }
    *ch = (struct change){0};
    if (s->run == NULL) {
        (void)lua_gc(s->functions->lua, LUA_GCCOLLECT, 0);
    }
}

bool change_add(struct scripts *s, struct change *ch, struct slice code, struct str *why)
{
    struct library *l = library_make(s, code, why);
    if (l != NULL) {
        push(&ch->come, l);
    }
    return l != NULL;
}

void change_remove(struct scripts *s, struct change *ch, struct library *l)
{
    unlink_library(s, l);
    push(&ch->gone, l);
}

bool change_add_payload(struct scripts *s, struct change *ch, struct slice in, struct str *why)
{
    struct str scratch = {0};
    bool good = true;
    if (!rdb_check_payload(&in)) {
        str_appendz(why, "ERR DUMP payload version or checksum are wrong");
        return false;
    }
    while (good && in.len > 0) {
        unsigned opcode;
        struct slice code;
        if (!rdb_read_byte(&in, &opcode) || opcode != RDB_OPCODE_FUNCTION2) {
            str_appendz(why, "ERR given type is not a function");
            good = false;
        } else if (!rdb_read_string(&in, &scratch, &code)) {
            str_appendz(why, "ERR Failed loading library data");
            good = false;
        } else {
            good = change_add(s, ch, code, why);
        }
    }
    str_fini(&scratch);
    return good;
}

/* ---- from outside ---- */

void functions_clear(struct scripts *s)
{
    struct change ch = {.policy = LIBRARIES_FLUSH};
    struct str why = {0};
    bool good = change_make(s, &ch, &why);
    INVARIANT(good);
    change_keep(s, &ch);
}

void scripts_clear_libraries(struct scripts *s)
{
    CHECK_OBJ(s, s->magic);
    functions_clear(s);
}

static int by_name(const void *a, const void *b)
{
    const struct library *const *x = a;
    const struct library *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* By their names: the same set is the same bytes on every node. */
void scripts_dump(const struct scripts *s, struct str *to)
{
    size_t start = to->len;
    size_t n = 0;
    const struct library **sorted = mem_alloc((s->libraries.count + 1) * sizeof(*sorted));
    HMAP_FOREACH(it, &s->libraries) {
        sorted[n++] = container_of(it, struct library, node);
    }
    qsort(sorted, n, sizeof(*sorted), by_name);
    for (size_t i = 0; i < n; i++) {
        str_append_char(to, (char)RDB_OPCODE_FUNCTION2);
        rdb_write_string(to, str_slice(&sorted[i]->code), true);
    }
    mem_free(sorted);
    rdb_write_tail(to, start);
}

bool scripts_restore(struct scripts *s, struct slice payload, struct str *why)
{
    struct change ch = {.policy = LIBRARIES_FLUSH};
    if (!change_add_payload(s, &ch, payload, why)) {
        change_undo(s, &ch);
        return false;
    }
    if (!change_make(s, &ch, why)) {
        return false;
    }
    change_keep(s, &ch);
    return true;
}

bool scripts_replace_all(struct scripts *s, const struct slice *codes, size_t n, struct str *why)
{
    struct change ch = {.policy = LIBRARIES_FLUSH};
    for (size_t i = 0; i < n; i++) {
        if (!change_add(s, &ch, codes[i], why)) {
            change_undo(s, &ch);
            return false;
        }
    }
    if (!change_make(s, &ch, why)) {
        return false;
    }
    change_keep(s, &ch);
    return true;
}

bool scripts_load(struct scripts *s, struct slice code, bool replace, struct str *why)
{
    struct change ch = {.policy = replace ? LIBRARIES_REPLACE : LIBRARIES_APPEND};
    if (!change_add(s, &ch, code, why) || !change_make(s, &ch, why)) {
        return false;
    }
    change_keep(s, &ch);
    return true;
}

void scripts_each_library(const struct scripts *s, script_library_fn *fn, void *arg)
{
    HMAP_FOREACH(n, &s->libraries) {
        const struct library *l = container_of(n, struct library, node);
        fn(arg, slice_str(l->name), str_slice(&l->code));
    }
}
