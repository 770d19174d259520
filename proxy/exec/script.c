// SPDX-License-Identifier: BSD-3-Clause
/* Scripts that a node lacks; and SCRIPT KILL, FUNCTION KILL, FUNCTION STATS: to all nodes by
 * connections of their own, since on the lanes they would stand behind the very script that they
 * are about. */
#include "proxy/exec/script.h"

#include "proxy/exec/exec_priv.h"

#include "common/base/hash.h"
#include "common/base/sha1.h"

/* ---- scripts that went by ---- */

#define SEEN_MAX    1000
#define SEEN_BYTES  (4 << 20)
#define SCRIPT_LONG (64 << 10) /* a longer one is not kept */

struct seen {
    struct list age; /* the oldest first */
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

void script_note(struct exec *x, const struct command *c, const struct slice *argv, size_t argc)
{
    struct scripts_seen *s = x->seen;
    size_t at = c->id == CMD_SCRIPT_LOAD ? 2 : 1;
    if (argc <= at || argv[at].len > SCRIPT_LONG) {
        return;
    }
    struct slice text = argv[at];
    uint64_t hash = hash_bytes(text.ptr, text.len, s->seed);
    if (is_known(s, text, hash)) {
        return;
    }
    while (s->by_sha.count >= SEEN_MAX || s->bytes + text.len > SEEN_BYTES) {
        forget(s, container_of(s->age.next, struct seen, age));
    }
    struct seen *k = mem_alloc(sizeof(*k) + text.len);
    k->len = text.len;
    memcpy(k->text, text.ptr, text.len);
    sha1_hex(text.ptr, text.len, k->sha);
    list_append(&s->age, &k->age);
    hmap_insert(&s->by_text, &k->by_text, hash);
    hmap_insert(&s->by_sha, &k->by_sha, hash_name(k->sha, SHA1_HEX_LEN));
    s->bytes += text.len;
}

static const struct seen *by_sha(const struct scripts_seen *s, struct slice sha)
{
    for (struct hmap_node *n = hmap_first(&s->by_sha, hash_name(sha.ptr, sha.len)); n != NULL;
         n = hmap_same(n)) {
        const struct seen *k = container_of(n, struct seen, by_sha);
        if (slice_is(sha, k->sha)) {
            return k;
        }
    }
    return NULL;
}

/* The words of the call, with the script in the place of its digest. False: it is not known. */
static bool rewrite(struct exec *x, struct call *c)
{
    struct resp_parser *p = &x->parser;
    if (resp_parse(p, slice_of(c->bytes, c->len)) != RESP_OK || p->argc < 3 ||
        !slice_is(slice_of(p->argv[0].ptr, MIN(p->argv[0].len, (size_t)7)), "evalsha")) {
        return false;
    }
    const struct seen *k = by_sha(x->seen, p->argv[1]);
    if (k == NULL) {
        return false;
    }
    struct slice *words = mem_alloc(p->argc * sizeof(*words));
    memcpy(words, p->argv, p->argc * sizeof(*words));
    words[0] = c->request->command->id == CMD_EVALSHA_RO ? SLICE("EVAL_RO") : SLICE("EVAL");
    words[1] = slice_of(k->text, k->len);
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
