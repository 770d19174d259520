// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/apply.h"

#include "common/base/mem.h"
#include "common/cmd/keys.h"
#include "common/cmd/slot.h"

#include <stdio.h>

#define ARGV_KEEP 1024 /* a longer one is given back */

void applier_init(struct applier *a, const struct call_table *table)
{
    *a = (struct applier){.table = table};
    session_init(&a->session);
    rng_init(&a->rng, 1);
}

void applier_fini(struct applier *a)
{
    outbuf_fini(&a->out);
    mem_free(a->argv);
    *a = (struct applier){0};
}

static bool fail(struct applier *a, const char *why, struct slice word)
{
    snprintf(a->error, sizeof(a->error), "%s: %.*s", why, (int)MIN(word.len, 64U), word.ptr);
    return false;
}

/* Only what a collector writes: commands of the data that write. */
static bool may_run(struct applier *a, const struct call *c)
{
    return (c->cmd != NULL && command_is_write(c->cmd) && a->table->fn[c->cmd->id] != NULL &&
            command_arity_ok(c->cmd, c->argc)) ||
           fail(a, "no effect", c->argv[0]);
}

static bool in_shard(struct applier *a, const struct call *c)
{
    struct key_list keys;
    key_list_init(&keys);
    bool right = true;
    if (keys_find(c->cmd, c->argv, c->argc, &keys) == KEYS_OK) {
        for (uint32_t i = 0; right && i < keys.count; i++) {
            int slot = slot_of(c->argv[keys.keys[i].index]);
            right = keyspace_shard_of(c->ks, slot) == c->shard;
        }
    }
    key_list_fini(&keys);
    return right || fail(a, "a key of another shard", c->argv[0]);
}

/* `known`: the probe of the first argument; may be NULL. */
static bool find_key(struct applier *a, struct call *c, const struct probe *known)
{
    c->probe_arg = 0;
    uint32_t at = keys_single(c->cmd);
    if (at == 0) {
        return in_shard(a, c);
    }
    c->probe = at == 1 && known != NULL ? *known : keyspace_probe_key(c->ks, c->argv[at]);
    c->probe_arg = at;
    return (int)c->probe.shard == c->shard || fail(a, "a key of another shard", c->argv[at]);
}

static void read_words(struct applier *a, const struct effect *e)
{
    if (e->argc > a->argv_cap) {
        a->argv_cap = MAX(e->argc, 16U);
        mem_free(a->argv);
        a->argv = mem_alloc(a->argv_cap * sizeof(*a->argv));
    }
    effect_args(e, a->argv);
}

static bool run(struct applier *a, struct call *c, const struct effect *e,
                const struct probe *known)
{
    if (e->db >= c->ks->n_dbs) {
        return fail(a, "this node has fewer databases", SLICE("databases"));
    }
    read_words(a, e);
    c->argv = a->argv;
    c->argc = e->argc;
    c->cmd = command_find(c->argv, c->argc);
    if (!may_run(a, c) || !find_key(a, c, known)) {
        return false;
    }
    a->session.db = e->db;
    c->db.index = e->db;
    c->changes = 0;
    c->w.errors = 0;
    a->table->fn[c->cmd->id](c);
    outbuf_consume(&a->out, a->out.bytes);
    a->effects++;
    return c->w.errors == 0 || fail(a, c->w.code, c->argv[0]);
}

/* ---- looking ahead ---- */

static inline struct apply_soon *soon_at(struct applier *a, uint32_t i)
{
    return &a->soon[(a->soon_first + i) & (APPLY_AHEAD - 1)];
}

/* Keys of the commands that matter for speed are the first argument. */
static void look_at(struct apply_soon *s, const struct keyspace *ks, const struct entry *e)
{
    struct slice argv[8];
    struct effects it = effects_of(e);
    struct effect one;
    *s = (struct apply_soon){.shard = e->shard, .db = -1, .version = e->version};
    if (effects_next(&it, &one) && one.argc > 1 && one.argc <= ARRAY_LEN(argv) &&
        one.db < ks->n_dbs) {
        effect_args(&one, argv);
        s->db = one.db;
        s->probe = keyspace_probe_key(ks, argv[1]);
        keyspace_prefetch_bucket(ks, s->db, &s->probe);
    }
}

static void look_on(struct applier *a, const struct keyspace *ks)
{
    struct entry e;
    while (a->soon_n < APPLY_AHEAD) {
        if (a->left.len == 0 && (a->more == NULL || !a->more(a->more_arg, &a->left))) {
            a->more = NULL;
            return;
        }
        int64_t len = entry_read(a->left, &e);
        if (len <= 0) {
            a->left = SLICE(""); /* who applies them will see */
            a->more = NULL;
            return;
        }
        a->left = slice_of(a->left.ptr + len, a->left.len - (size_t)len);
        look_at(soon_at(a, a->soon_n++), ks, &e);
    }
}

static inline void prefetch_at(struct applier *a, const struct keyspace *ks, uint32_t i)
{
    const struct apply_soon *s = soon_at(a, i);
    if (i < a->soon_n && s->db >= 0) {
        keyspace_prefetch_object(ks, s->db, &s->probe);
    }
}

void apply_ahead(struct applier *a, const struct keyspace *ks, apply_more_fn *more, void *arg)
{
    a->left = SLICE("");
    a->more = more;
    a->more_arg = arg;
    a->soon_first = 0;
    a->soon_n = 0;
    look_on(a, ks);
    for (uint32_t i = 0; i < APPLY_AHEAD / 2; i++) {
        prefetch_at(a, ks, i);
    }
}

/* Its probe, if it is one of those that were expected. Those before it were not to be applied. */
static bool was_expected(struct applier *a, const struct keyspace *ks, const struct entry *e,
                         struct probe *out)
{
    uint32_t at = 0;
    while (at < a->soon_n &&
           (soon_at(a, at)->shard != e->shard || soon_at(a, at)->version != e->version)) {
        at++;
    }
    if (at == a->soon_n) {
        return false;
    }
    const struct apply_soon *s = soon_at(a, at);
    bool known = s->db >= 0;
    *out = s->probe;
    a->soon_first += at + 1;
    a->soon_n -= at + 1;
    look_on(a, ks);
    prefetch_at(a, ks, APPLY_AHEAD / 2);
    return known;
}

bool apply_entry(struct applier *a, struct keyspace *ks, const struct entry *e)
{
    struct keyspace_stats was = ks->stats;
    struct call c = {.w = {.out = &a->out, .proto = 2},
                     .session = &a->session,
                     .ks = ks,
                     .rng = &a->rng,
                     .now_ms = e->time_ms,
                     .table = a->table,
                     .shard = e->shard};
    c.db = (struct db){.ks = ks, .now_ms = e->time_ms, .applying = true};
    INVARIANT(ks->shards[e->shard] != NULL);
    struct effects it = effects_of(e);
    struct effect one;
    struct probe probe;
    const struct probe *known = was_expected(a, ks, e, &probe) ? &probe : NULL;
    bool right = true;
    while (right && effects_next(&it, &one)) {
        right = run(a, &c, &one, known);
        known = NULL; /* that of the first effect */
    }
    a->entries++;
    ks->stats.hits = was.hits;
    ks->stats.misses = was.misses;
    ks->stats.applied += ks->stats.dirty - was.dirty;
    if (UNLIKELY(a->argv_cap > ARGV_KEEP)) {
        mem_free(a->argv);
        a->argv = NULL;
        a->argv_cap = 0;
    }
    return right;
}
