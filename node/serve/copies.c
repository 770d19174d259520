// SPDX-License-Identifier: BSD-3-Clause
/* Of the replication of a node: full copies of shards, out of and into the keyspace. While one runs
 * from here a guard tells the core of each change before it is made. Large values go and come in
 * parts (types/portrait.h, types/draft.h). */
#include "node/keyspace/copy.h"
#include "node/keyspace/guard.h"
#include "node/keyspace/lazyfree.h"
#include "node/serve/replicate_priv.h"

#include "common/base/mem.h"

struct copying {
    struct guard guard;
    struct server *server;
    uint64_t bytes; /* given since it began */
    uint64_t keys;
};

static void before_key(void *arg, int db, const struct probe *p, struct slice key, struct object *o)
{
    const struct copying *c = arg;
    struct repl *core = c->server->repl->core;
    (void)o;
    repl_before_write(core, (int)p->shard, db, p->hash, key);
}

/* Emptying is an entry like any other, and the keys that were not given yet are gone there too. */
static void before_flush(void *arg, int db)
{
    (void)arg;
    (void)db;
}

static void before_swap(void *arg, int db_a, int db_b)
{
    const struct copying *c = arg;
    struct replication *r = c->server->repl;
    (void)db_a;
    (void)db_b;
    repl_copies_restart(r->core, r->now_us);
}

static void dropped(void *arg)
{
    struct copying *c = arg;
    c->server->repl->running_copies--;
}

void copies_init(struct server *s)
{
    struct replication *r = s->repl;
    int n = s->ks->n_shards;
    r->copies = mem_zalloc((size_t)n * sizeof(*r->copies));
    for (int i = 0; i < n; i++) {
        r->copies[i].server = s;
        r->copies[i].guard = (struct guard){.shard = -1,
                                            .key = before_key,
                                            .flush = before_flush,
                                            .swap = before_swap,
                                            .dropped = dropped,
                                            .arg = &r->copies[i]};
    }
}

static void unguard(struct server *s)
{
    struct replication *r = s->repl;
    for (int i = 0; i < s->ks->n_shards; i++) {
        if (r->copies[i].guard.shard >= 0) {
            guard_clear(s->ks, &r->copies[i].guard);
        }
    }
    r->running_copies = 0;
}

void copies_settle(struct server *s)
{
    if (UNLIKELY(s->repl->running_copies > 0) && !repl_copying(s->repl->core)) {
        unguard(s);
    }
}

/* ---- how much of the time ---- */

#define SLICE_US   200   /* of a turn */
#define REST_TIMES 4     /* of a slice, between two, while others are served */
#define SERVED_US  20000 /* they are, so long behind what was done for them last */

bool copies_time(void *arg)
{
    const struct server *s = arg;
    const struct pace *p = &s->repl->pace;
    return p->spent_us < SLICE_US && s->repl->now_us >= p->rest_until_us;
}

static int64_t begin_piece(void)
{
    return loop_clock_us();
}

static void end_piece(struct replication *r, int64_t begun_us)
{
    r->pace.spent_us += loop_clock_us() - begun_us + 1;
}

void copies_turn(struct server *s)
{
    struct pace *p = &s->repl->pace;
    if (LIKELY(p->spent_us == 0)) {
        return;
    }
    int64_t now_us = replicate_now(s->repl);
    uint64_t work = s->stats.commands + repl_stats(s->repl->core)->entries_applied;
    if (work != p->work) {
        p->work = work;
        p->work_us = now_us;
    }
    bool serves = now_us - p->work_us < SERVED_US;
    p->rest_until_us = serves ? now_us + p->spent_us * REST_TIMES : 0;
    p->spent_us = 0;
}

int64_t copies_rest_ms(const struct server *s)
{
    int64_t rest_us = s->repl->pace.rest_until_us - s->repl->now_us;
    return rest_us <= 0 ? 0 : (rest_us + 999) / 1000;
}

void copies_progress(const struct server *s, int shard, uint64_t *done, uint64_t *left)
{
    const struct copying *c = &s->repl->copies[shard];
    uint64_t keys = keyspace_shard_keys(s->ks, shard);
    *done = c->bytes;
    *left = c->keys == 0 ? keyspace_shard_memory(s->ks, shard)
                         : (keys > c->keys ? keys - c->keys : 0) * (c->bytes / c->keys);
}

/* ---- portraits that go out ---- */

static uint32_t keep_portrait(struct replication *r, int shard, struct portrait *p)
{
    uint32_t i = 0;
    while (i < r->n_sitters && r->sitters[i].portrait != NULL) {
        i++;
    }
    if (i == r->n_sitters) {
        r->sitters = mem_realloc(r->sitters, sizeof(r->sitters[0]) * ++r->n_sitters);
    }
    r->sitters[i] = (struct sitter){.portrait = p, .shard = shard};
    return i;
}

static void end_portrait(struct server *s, struct sitter *of)
{
    struct object *rest = portrait_free(&of->portrait);
    if (rest != NULL) {
        lazyfree_object(s->ks, rest, true);
    }
}

void copies_part_end(void *arg, uint32_t handle)
{
    struct server *s = arg;
    end_portrait(s, &s->repl->sitters[handle]);
}

bool copies_part(void *arg, uint32_t handle, size_t budget, struct slice *part)
{
    struct server *s = arg;
    struct replication *r = s->repl;
    struct sitter *of = &r->sitters[handle];
    int64_t begun_us = begin_piece();
    str_clear(&r->part);
    bool more = portrait_step(of->portrait, budget, &r->part);
    *part = str_slice(&r->part);
    r->copies[of->shard].bytes += part->len;
    end_piece(r, begun_us);
    return more;
}

/* What r->copied has, as the core wants it. */
static void give(struct replication *r, int shard, struct repl_copied *out)
{
    const struct copied *c = &r->copied;
    if (c->n_portraits > r->cap_given) {
        r->cap_given = c->n_portraits;
        r->given = mem_realloc(r->given, r->cap_given * sizeof(r->given[0]));
    }
    for (size_t i = 0; i < c->n_portraits; i++) {
        r->given[i] =
            (struct repl_portrait){.handle = keep_portrait(r, shard, c->portraits[i].portrait),
                                   .head = str_slice(&c->portraits[i].head)};
    }
    out->keys = c->keys;
    out->bytes = str_slice(&c->bytes);
    out->portraits = r->given;
    out->n_portraits = c->n_portraits;
}

void copies_begins(void *arg, int shard)
{
    struct server *s = arg;
    struct replication *r = s->repl;
    if (r->copies[shard].guard.shard < 0) {
        guard_set(s->ks, &r->copies[shard].guard, shard);
        r->running_copies++;
    }
}

void copies_scan(void *arg, int shard, struct repl_place from, size_t budget,
                 struct repl_copied *out)
{
    struct server *s = arg;
    struct replication *r = s->repl;
    struct copying *c = &r->copies[shard];
    copies_begins(s, shard); /* again: a shard that was emptied has let it go */
    if (from.db == 0 && from.hash == 0) {
        c->bytes = 0;
        c->keys = 0;
    }
    int64_t begun_us = begin_piece();
    struct walk_place at = {.db = from.db, .hash = from.hash};
    copied_clear(&r->copied);
    bool more = copy_scan(s->ks, shard, &at, budget, &r->copied);
    give(r, shard, out);
    out->next = (struct repl_place){.db = at.db, .hash = at.hash};
    out->end = !more;
    c->bytes += r->copied.bytes.len;
    c->keys += out->keys;
    end_piece(r, begun_us);
}

void copies_key(void *arg, int shard, struct repl_place at, struct slice key,
                struct repl_copied *out)
{
    struct server *s = arg;
    struct replication *r = s->repl;
    copied_clear(&r->copied);
    copy_key(s->ks, shard, at.db, at.hash, key, &r->copied);
    give(r, shard, out);
}

/* ---- into the keyspace ---- */

bool copies_put(void *arg, int shard, struct slice keys)
{
    struct server *s = arg;
    uint64_t n;
    int64_t begun_us = begin_piece();
    bool ok = copy_put(s->ks, shard, keys, loop_wall_ms(s->loop), &n);
    end_piece(s->repl, begun_us);
    return ok;
}

static struct sitting *find_sitting(struct replication *r, int shard, uint64_t number)
{
    for (size_t i = 0; i < r->n_sittings; i++) {
        if (r->sittings[i].shard == shard && r->sittings[i].number == number) {
            return &r->sittings[i];
        }
    }
    return NULL;
}

static void forget_sitting(struct server *s, struct sitting *of)
{
    struct replication *r = s->repl;
    struct object *rest = draft_free(&of->draft);
    if (rest != NULL) {
        lazyfree_object(s->ks, rest, true);
    }
    *of = r->sittings[--r->n_sittings];
}

bool copies_open(void *arg, int shard, uint64_t number, struct slice head)
{
    struct server *s = arg;
    struct replication *r = s->repl;
    struct sitting of = {.shard = shard, .number = number};
    of.draft = copy_draft(s->ks, shard, head, &of.db);
    if (of.draft == NULL || find_sitting(r, shard, number) != NULL) {
        struct object *rest = draft_free(&of.draft);
        object_free(&rest);
        return false;
    }
    if (r->n_sittings == r->cap_sittings) {
        r->cap_sittings = MAX(r->cap_sittings * 2, (size_t)4);
        r->sittings = mem_realloc(r->sittings, r->cap_sittings * sizeof(r->sittings[0]));
    }
    r->sittings[r->n_sittings++] = of;
    return true;
}

bool copies_add(void *arg, int shard, uint64_t number, struct slice part)
{
    struct server *s = arg;
    struct sitting *of = find_sitting(s->repl, shard, number);
    int64_t begun_us = begin_piece();
    bool ok = of != NULL && draft_add(of->draft, part);
    end_piece(s->repl, begun_us);
    return ok;
}

bool copies_close(void *arg, int shard, uint64_t number)
{
    struct server *s = arg;
    struct sitting *of = find_sitting(s->repl, shard, number);
    if (of == NULL) {
        return false;
    }
    int64_t begun_us = begin_piece();
    bool whole = copy_put_draft(s->ks, shard, of->db, &of->draft, loop_wall_ms(s->loop));
    forget_sitting(s, of);
    end_piece(s->repl, begun_us);
    return whole;
}

void copies_discard(struct server *s, int shard)
{
    struct replication *r = s->repl;
    for (size_t i = 0; i < r->n_sittings;) {
        if (r->sittings[i].shard == shard) {
            forget_sitting(s, &r->sittings[i]);
        } else {
            i++;
        }
    }
}

void copies_fini(struct server *s)
{
    struct replication *r = s->repl;
    unguard(s);
    for (uint32_t i = 0; i < r->n_sitters; i++) {
        end_portrait(s, &r->sitters[i]);
    }
    while (r->n_sittings > 0) {
        forget_sitting(s, &r->sittings[0]);
    }
    mem_free(r->sitters);
    mem_free(r->sittings);
    mem_free(r->given);
    mem_free(r->copies);
    copied_fini(&r->copied);
    str_fini(&r->part);
}
