// SPDX-License-Identifier: BSD-3-Clause
/* Scripts that a node lacks: EVALSHA goes once more, as EVAL; within a transaction, where that is
 * too late, they are loaded on the way, unless the node surely has them. And SCRIPT KILL, FUNCTION
 * KILL, FUNCTION STATS: to all nodes by connections of their own, since on the lanes they would
 * stand behind the very script that they are about. */
#include "proxy/exec/script.h"

#include "proxy/exec/exec_priv.h"

#include "common/base/hash.h"
#include "common/base/num.h"
#include "common/base/sha1.h"
#include "common/cmd/slot.h"

/* ---- scripts that went by ---- */

#define SEEN_MAX    1000
#define SEEN_BYTES  (4 << 20)
#define SCRIPT_LONG (64 << 10) /* a longer one is not kept */
#define HAD_MAX     8

struct seen {
    struct list age;       /* the oldest first */
    uint64_t had[HAD_MAX]; /* nodes that surely have it: node_mark; 0: none */
    uint32_t had_next;
    uint64_t walk; /* of the last that met it */
    struct hmap_node by_text;
    struct hmap_node by_sha;
    char sha[SHA1_HEX_LEN + 1];
    size_t len;
    char text[];
};

struct scripts_seen {
    uint64_t seed;
    size_t bytes;
    struct list age;
    struct hmap by_text;
    struct hmap by_sha;
};

struct scripts_seen *scripts_seen_new(uint64_t seed)
{
    struct scripts_seen *s = mem_zalloc(sizeof(*s));
    s->seed = seed;
    list_init(&s->age);
    return s;
}

static void forget(struct scripts_seen *s, struct seen *k)
{
    list_remove(&k->age);
    hmap_remove(&s->by_text, &k->by_text);
    hmap_remove(&s->by_sha, &k->by_sha);
    s->bytes -= k->len;
    mem_free(k);
}

void scripts_seen_free(struct scripts_seen **sp)
{
    struct scripts_seen *s = *sp;
    *sp = NULL;
    if (s == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(it, &s->age) {
        forget(s, container_of(it, struct seen, age));
    }
    hmap_fini(&s->by_text);
    hmap_fini(&s->by_sha);
    mem_free(s);
}

static bool is_known(const struct scripts_seen *s, struct slice text, uint64_t hash)
{
    for (struct hmap_node *n = hmap_first(&s->by_text, hash); n != NULL; n = hmap_same(n)) {
        const struct seen *k = container_of(n, struct seen, by_text);
        if (slice_eq(slice_of(k->text, k->len), text)) {
            return true;
        }
    }
    return false;
}

void exec_scripts_forget(struct exec *x)
{
    LIST_FOREACH_SAFE(it, &x->seen->age) {
        forget(x->seen, container_of(it, struct seen, age));
    }
}

void exec_script_note(struct exec *x, struct slice text)
{
    struct scripts_seen *s = x->seen;
    if (text.len > SCRIPT_LONG) {
        return;
    }
    uint64_t hash = hash_bytes(text.ptr, text.len, s->seed);
    if (is_known(s, text, hash)) {
        return;
    }
    while (s->by_sha.count >= SEEN_MAX || s->bytes + text.len > SEEN_BYTES) {
        forget(s, container_of(s->age.next, struct seen, age));
    }
    struct seen *k = mem_zalloc(sizeof(*k) + text.len);
    k->len = text.len;
    memcpy(k->text, text.ptr, text.len);
    sha1_hex(text.ptr, text.len, k->sha);
    list_append(&s->age, &k->age);
    hmap_insert(&s->by_text, &k->by_text, hash);
    hmap_insert(&s->by_sha, &k->by_sha, hash_name(k->sha, SHA1_HEX_LEN));
    s->bytes += text.len;
}

static struct seen *by_sha(const struct scripts_seen *s, struct slice sha)
{
    for (struct hmap_node *n = hmap_first(&s->by_sha, hash_name(sha.ptr, sha.len)); n != NULL;
         n = hmap_same(n)) {
        struct seen *k = container_of(n, struct seen, by_sha);
        if (slice_is(sha, k->sha)) {
            return k;
        }
    }
    return NULL;
}

bool exec_script_known(const struct exec *x, struct slice sha)
{
    return by_sha(x->seen, sha) != NULL;
}

/* The script of EVALSHA, also as SHOAL AS <rules> EVALSHA; x->parser is at its words then, and `at`
 * tells where they begin. NULL: it is none, or not known. */
static struct seen *script_of(struct exec *x, struct slice bytes, size_t *at)
{
    struct resp_parser *p = &x->parser;
    if (resp_parse(p, bytes) != RESP_OK) {
        return NULL;
    }
    *at = p->argc > 3 && slice_is(p->argv[0], "shoal") && slice_is(p->argv[1], "as") ? 3 : 0;
    const struct slice *words = p->argv + *at;
    if (p->argc - *at < 3 ||
        !slice_is(slice_of(words[0].ptr, MIN(words[0].len, (size_t)7)), "evalsha")) {
        return NULL;
    }
    return by_sha(x->seen, words[1]);
}

/* The words of the call, with the script in the place of its digest. False: it is not known. */
static bool rewrite(struct exec *x, struct call *c)
{
    size_t at;
    struct resp_parser *p = &x->parser;
    const struct seen *k = script_of(x, slice_of(c->bytes, c->len), &at);
    if (k == NULL) {
        return false;
    }
    struct slice *words = mem_alloc(p->argc * sizeof(*words));
    memcpy(words, p->argv, p->argc * sizeof(*words));
    words[at] = c->request->command->id == CMD_EVALSHA_RO ? SLICE("EVAL_RO") : SLICE("EVAL");
    words[at + 1] = slice_of(k->text, k->len);
    const char *bytes;
    size_t len;
    struct chunk *chunk = gather_encode(words, p->argc, &bytes, &len);
    mem_free(words);
    call_drop_bytes(c);
    c->chunk = chunk;
    c->bytes = bytes;
    c->len = len;
    return true;
}

bool script_repair(struct exec *x, struct call *c, const char *reply, size_t len)
{
    static const char lacks[] = "-NOSCRIPT ";
    if (LIKELY(len < sizeof(lacks) || memcmp(reply, lacks, sizeof(lacks) - 1) != 0) ||
        c->kind != CALL_ONE || c->pinned || c->request->session == NULL || !rewrite(x, c)) {
        return false;
    }
    x->counters.retries++;
    call_hold(x, c, x->now_us);
    return true;
}

/* ---- errors ---- */

bool script_unmark(const char **ptr, size_t *len)
{
    static const char mark[] = "-SCRIPT -";
    const size_t n = sizeof(mark) - 2; /* the error's own '-' stays */
    if (*len < sizeof(mark) || memcmp(*ptr, mark, sizeof(mark) - 1) != 0) {
        return false;
    }
    *ptr += n;
    *len -= n;
    return true;
}

bool script_move(struct exec *x, struct call *c, const char *reply, size_t len)
{
    static const char head[] = "-MOVED ";
    const size_t n = sizeof(head) - 1;
    uint64_t slot;
    if (c->shard != CALL_ANY || c->kind != CALL_ONE || !command_is_script(c->request->command) ||
        c->request->session == NULL || len < sizeof(head) || memcmp(reply, head, n) != 0 ||
        c->tries >= (uint64_t)x->settings.retry_max_attempts) {
        return false;
    }
    const char *end = memchr(reply + n, ' ', len - n);
    if (end == NULL || !num_parse_u64(slice_of(reply + n, (size_t)(end - reply) - n), &slot) ||
        slot >= SLOTS) {
        return false;
    }
    c->tries++;
    c->shard = (int)slot_to_shard((uint32_t)slot, x->shards);
    x->counters.redirects++;
    call_hold(x, c, x->now_us);
    return true;
}

/* ---- what scripts say of themselves ---- */

/* The words between commas. */
static bool has_word(struct slice list, struct slice word)
{
    while (list.len > 0) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t n = comma == NULL ? list.len : (size_t)(comma - list.ptr);
        if (slice_eq(slice_of(list.ptr, n), word)) {
            return true;
        }
        n = MIN(n + 1, list.len);
        list = slice_of(list.ptr + n, list.len - n);
    }
    return false;
}

bool script_says_no_writes(struct slice text)
{
    static const char flags[] = " flags=";
    const char *eol =
        text.len < 2 || memcmp(text.ptr, "#!", 2) != 0 ? NULL : memchr(text.ptr, '\n', text.len);
    const char *at =
        eol == NULL ? NULL : memmem(text.ptr, (size_t)(eol - text.ptr), flags, sizeof(flags) - 1);
    if (at == NULL) {
        return false;
    }
    at += sizeof(flags) - 1;
    size_t len = 0;
    while (at + len < eol && at[len] != ' ' && at[len] != '\r') {
        len++;
    }
    return has_word(slice_of(at, len), SLICE("no-writes"));
}

bool script_known_not_to_write(const struct exec *x, struct slice sha)
{
    const struct seen *k = by_sha(x->seen, sha);
    return k != NULL && script_says_no_writes(slice_of(k->text, k->len));
}

/* ---- within transactions ---- */

/* This start of that node: another one has no scripts. */
static uint64_t node_mark(const struct target *t)
{
    return (hash_name(t->id, NODE_ID_LEN) ^ t->incarnation * 0x9e3779b97f4a7c15ull) | 1;
}

static bool surely_has(const struct seen *k, uint64_t mark)
{
    for (size_t i = 0; i < HAD_MAX; i++) {
        if (k->had[i] == mark) {
            return true;
        }
    }
    return false;
}

uint32_t script_loads(struct exec *x, const struct target *t, struct slice bytes, struct str *to)
{
    size_t at;
    struct seen *k = script_of(x, bytes, &at);
    if (k == NULL || k->walk == x->walk || (t != NULL && surely_has(k, node_mark(t)))) {
        return 0;
    }
    k->walk = x->walk;
    str_printf(to, "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%zu\r\n", k->len);
    str_append(to, k->text, k->len);
    str_append(to, "\r\n", 2);
    return 1;
}

void script_loaded(struct exec *x, const struct target *t, struct slice bytes)
{
    size_t at;
    struct seen *k = script_of(x, bytes, &at);
    if (k != NULL && t != NULL && !surely_has(k, node_mark(t))) {
        k->had[k->had_next++ % HAD_MAX] = node_mark(t);
    }
}

/* ---- kills ---- */

static bool begins(const struct part *p, const char *with)
{
    size_t n = strlen(with);
    return p->reply_len >= n && memcmp(p->reply, with, n) == 0;
}

/* 0: says nothing. */
static int worth(const struct command *c, const struct part *p)
{
    if (c->id == CMD_FUNCTION_STATS) {
        /* One that runs something names it; a node that is busy with a script says that. */
        bool runs = memmem(p->reply, p->reply_len, "duration_ms", 11) != NULL;
        return runs ? 3 : begins(p, "-BUSY") ? 2 : *p->reply != '-';
    }
    if (*p->reply != '-') {
        return 4;
    }
    return begins(p, "-UNKILLABLE") ? 3 : begins(p, "-BUSY") ? 2 : begins(p, "-NOTBUSY");
}

const struct part *script_best(const struct command *c, const struct gather *g)
{
    const struct part *best = g->parts[0];
    for (uint32_t i = 1; i < g->n_parts; i++) {
        if (worth(c, g->parts[i]) > worth(c, best)) {
            best = g->parts[i];
        }
    }
    return best;
}

/* A node that lags behind (it has missed a change, and will learn of both) may lack the library
 * that is deleted, or have one that was. */
static bool is_behind(const struct part *p)
{
    static const char lacks[] = "-ERR Library not found", has[] = "-ERR Library '";
    return begins(p, lacks) ||
           (begins(p, has) && memmem(p->reply, p->reply_len, "already exists", 14) != NULL);
}

const struct part *script_changed(const struct command *c, const struct gather *g)
{
    const struct part *good = NULL;
    if (c->id != CMD_FUNCTION_LOAD && c->id != CMD_FUNCTION_DELETE) {
        return NULL;
    }
    for (uint32_t i = 0; i < g->n_parts; i++) {
        const struct part *p = g->parts[i];
        if (*p->reply != '-') {
            good = p;
        } else if (!is_behind(p)) {
            return NULL;
        }
    }
    return good;
}

enum exec_verdict exec_urgent(struct exec *x, struct session *s, const struct command *c,
                              const struct exec_input *in)
{
    const char *bytes;
    size_t len;
    struct chunk *chunk = gather_encode(in->argv, in->argc, &bytes, &len);
    struct request *r = request_take(x, s, c);
    struct gather *g = gather_new(r, GATHER_ALL);
    x->counters.requests_all++;
    LIST_FOREACH(it, &x->targets) {
        struct target *t = container_of(it, struct target, link);
        if (t->alive) {
            struct part *p = gather_add(r);
            part_set_bytes(p, chunk, bytes, len);
            p->call.shard = CALL_NODE;
            p->call.target = t;
        }
    }
    chunk_unref(&chunk);
    gather_begin(r);
    for (uint32_t i = 0; i < g->n_parts; i++) {
        call_send_to(x, &g->parts[i]->call, g->parts[i]->call.target, LANE_URGENT);
    }
    gather_end(x, r);
    return EXEC_TAKEN;
}
