// SPDX-License-Identifier: BSD-3-Clause
/* Scripts that were seen, compiled: by their text, which is what EVAL brings, and by their SHA1. */
#include "node/script/script_priv.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/words.h"
#include "common/resp/errors.h"

/* ---- what its first line says: #!lua flags=a,b ---- */

#define FLAGS_WORD "flags="

/* False: `wrong` says what is wrong. */
static bool read_flag_list(struct slice list, unsigned *flags, struct str *wrong)
{
    while (list.len > 0) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.ptr);
        unsigned bit = script_flag_by_name(slice_of(list.ptr, len));
        if (bit == 0) {
            str_printf(wrong, "ERR Unexpected flag in script shebang: %.*s", (int)MIN(len, 128u),
                       list.ptr);
            return false;
        }
        *flags |= bit;
        size_t used = MIN(len + 1, list.len);
        list = slice_of(list.ptr + used, list.len - used);
    }
    return true;
}

static bool read_words(const struct words *w, unsigned *flags, struct str *wrong)
{
    if (w->argc == 0 || !slice_eq(w->argv[0], SLICE("#!lua"))) {
        struct slice engine = w->argc == 0 ? SLICE("") : w->argv[0];
        str_printf(wrong, "ERR Unexpected engine in script shebang: %.*s", ARG_PRINT(engine));
        return false;
    }
    for (size_t i = 1; i < w->argc; i++) {
        struct slice word = w->argv[i];
        size_t n = sizeof(FLAGS_WORD) - 1;
        if (word.len < n || memcmp(word.ptr, FLAGS_WORD, n) != 0) {
            str_printf(wrong, "ERR Unknown lua shebang option: %.*s", ARG_PRINT(word));
            return false;
        }
        if (!read_flag_list(slice_of(word.ptr + n, word.len - n), flags, wrong)) {
            return false;
        }
    }
    return true;
}

/* *code becomes what is to be compiled: all behind the first line, so that lines keep numbers. */
static bool read_shebang(struct slice *code, unsigned *flags, struct str *wrong)
{
    *flags = SCRIPT_COMPAT;
    if (code->len < 2 || memcmp(code->ptr, "#!", 2) != 0) {
        return true;
    }
    *flags = 0;
    const char *end = memchr(code->ptr, '\n', code->len);
    if (end == NULL) {
        str_appendz(wrong, "ERR Invalid script shebang");
        return false;
    }
    size_t len = (size_t)(end - code->ptr);
    struct words w = {0};
    bool good = words_split(&w, slice_of(code->ptr, len));
    if (!good) {
        str_appendz(wrong, "ERR Invalid engine in script shebang");
    } else {
        good = read_words(&w, flags, wrong);
    }
    words_fini(&w);
    *code = slice_of(end, code->len - len);
    return good;
}

unsigned cache_flags_of(struct slice text)
{
    unsigned flags;
    struct str wrong = {0};
    bool good = read_shebang(&text, &flags, &wrong);
    str_fini(&wrong);
    return good ? flags : SCRIPT_COMPAT;
}

/* ---- the cache ---- */

static uint64_t hash_of(const struct scripts *s, struct slice v)
{
    return hash_bytes(v.ptr, v.len, s->seed);
}

static struct cached *find_text(struct scripts *s, struct slice text, uint64_t hash)
{
    for (struct hmap_node *n = hmap_first(&s->by_text, hash); n != NULL; n = hmap_same(n)) {
        struct cached *k = container_of(n, struct cached, by_text);
        if (slice_eq(slice_of(k->text, k->len), text)) {
            return k;
        }
    }
    return NULL;
}

struct cached *cache_by_sha(const struct scripts *s, struct slice sha)
{
    char lower[SHA1_HEX_LEN];
    if (sha.len != SHA1_HEX_LEN) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof(lower); i++) {
        char ch = sha.ptr[i];
        lower[i] = (char)(ch >= 'A' && ch <= 'Z' ? ch + 32 : ch);
    }
    struct slice want = slice_of(lower, sizeof(lower));
    uint64_t hash = hash_of(s, want);
    for (struct hmap_node *n = hmap_first(&s->by_sha, hash); n != NULL; n = hmap_same(n)) {
        struct cached *k = container_of(n, struct cached, by_sha);
        if (slice_eq(slice_of(k->sha, SHA1_HEX_LEN), want)) {
            return k;
        }
    }
    return NULL;
}

static struct cached *add(struct scripts *s, struct slice text, uint64_t hash, unsigned flags)
{
    struct cached *k = mem_alloc(sizeof(*k) + text.len);
    k->flags = flags;
    k->ref = luaL_ref(s->eval->lua, LUA_REGISTRYINDEX);
    k->len = text.len;
    memcpy(k->text, text.ptr, text.len);
    sha1_hex(text.ptr, text.len, k->sha);
    hmap_insert(&s->by_text, &k->by_text, hash);
    hmap_insert(&s->by_sha, &k->by_sha, hash_of(s, slice_of(k->sha, SHA1_HEX_LEN)));
    s->cache_bytes += mem_size(k);
    return k;
}

struct cached *cache_script(struct call *c, struct slice text)
{
    struct scripts *s = scripts_of(c);
    uint64_t hash = hash_of(s, text);
    struct cached *k = find_text(s, text, hash);
    if (LIKELY(k != NULL)) {
        return k;
    }
    struct slice code = text;
    unsigned flags;
    struct str wrong = {0};
    const char *why = NULL;
    if (read_shebang(&code, &flags, &wrong)) {
        if (engine_compile(s->eval, code, "@user_script", &why)) {
            return add(s, text, hash, flags);
        }
        str_printf(&wrong, "ERR Error compiling script (new function): %s", why);
        lua_pop(s->eval->lua, 1);
    }
    resp_error(&c->w, str_cstr(&wrong));
    str_fini(&wrong);
    return NULL;
}

void cache_clear(struct scripts *s)
{
    for (struct hmap_node *n = hmap_begin(&s->by_sha), *next; n != NULL; n = next) {
        next = hmap_next(&s->by_sha, n);
        struct cached *k = container_of(n, struct cached, by_sha);
        hmap_remove(&s->by_sha, n);
        mem_free(k);
    }
    hmap_fini(&s->by_text);
    s->by_text = (struct hmap){0};
    s->cache_bytes = 0;
}
