// SPDX-License-Identifier: BSD-3-Clause
/* What nodes remember for a client that tracks, as far as they have said: its keys, shard by shard,
 * and up to which entry of the shard's log no change of them was left untold. With that the next
 * primary of a shard goes on where the last one ended (SHOAL TRACK): the client hears only of what
 * has changed, or may have, not that its whole cache is void.
 *
 *   stands   the lane is there, its node tells of changes
 *   lost     no lane: the shard's next primary is to be asked, or is being asked
 *
 * With BCAST nothing is remembered: groups have no keys. Where the next primary begins to tell it
 * says, and if that is the very entry that the last one came to, nothing is missing.
 *
 * Always: a key is in one group; in one that is lost no change can have been told since. */
#include "proxy/exec/own_priv.h"

#include "common/base/hash.h"
#include "common/base/num.h"
#include "common/resp/value.h"

#include <stdio.h>

#define ASK_KEYS 1000 /* that are asked for at a time */

struct own_key {
    struct hmap_node node;
    struct list link; /* own_group.keys */
    struct own_group *group;
    size_t len;
    char bytes[];
};

struct own_group {
    struct hmap_node node; /* by the shard */
    struct list link;      /* own.groups */
    int shard;
    struct lane *lane; /* whose node remembers them; NULL: lost */
    uint64_t term;     /* up to this entry all was told */
    uint64_t version;
    uint64_t begin_term; /* BCAST: from this one on, by this lane */
    uint64_t begin_version;
    struct list keys;
    size_t n;
    int64_t lost_us;
    struct lane *asked; /* NULL: not */
    uint64_t question;  /* its number on that lane */
};

/* --- the table --- */

static uint64_t hash_of(struct slice key)
{
    return hash_bytes(key.ptr, key.len, 0x6f776e6b65790001ULL);
}

static uint64_t hash_of_shard(int shard)
{
    return (uint64_t)(uint32_t)shard * 0x9e3779b97f4a7c15ULL;
}

static struct own_key *find_key(const struct own *own, struct slice key)
{
    for (struct hmap_node *n = hmap_first(&own->keys, hash_of(key)); n != NULL; n = hmap_same(n)) {
        struct own_key *k = container_of(n, struct own_key, node);
        if (slice_eq(slice_of(k->bytes, k->len), key)) {
            return k;
        }
    }
    return NULL;
}

static struct own_group *group_new(struct own *own, int shard, struct lane *l)
{
    struct own_group *g = mem_zalloc(sizeof(*g));
    g->shard = shard;
    g->lane = l;
    list_init(&g->keys);
    list_append(&own->groups, &g->link);
    hmap_insert(&own->shards, &g->node, hash_of_shard(shard));
    return g;
}

static struct own_group *find_group(const struct own *own, int shard, const struct lane *l)
{
    struct hmap_node *n = hmap_first(&own->shards, hash_of_shard(shard));
    for (; n != NULL; n = hmap_same(n)) {
        struct own_group *g = container_of(n, struct own_group, node);
        if (g->shard == shard && g->lane == l) {
            return g;
        }
    }
    return NULL;
}

/* Of the shard at that lane, made if need be. */
static struct own_group *group_at(struct own *own, int shard, struct lane *l)
{
    struct own_group *g = find_group(own, shard, l);
    return g != NULL ? g : group_new(own, shard, l);
}

static void group_free(struct own *own, struct own_group *g)
{
    INVARIANT(g->n == 0);
    list_remove(&g->link);
    hmap_remove(&own->shards, &g->node);
    mem_free(g);
}

static void join(struct own_key *k, struct own_group *g)
{
    k->group = g;
    list_append(&g->keys, &k->link);
    g->n++;
}

static void leave(struct own_key *k)
{
    list_remove(&k->link);
    k->group->n--;
}

static void key_free(struct own *own, struct own_key *k)
{
    leave(k);
    hmap_remove(&own->keys, &k->node);
    mem_free(k);
}

static void forget_group(struct own *own, struct own_group *g)
{
    while (g->n > 0) {
        key_free(own, container_of(g->keys.next, struct own_key, link));
    }
    group_free(own, g);
}

void own_keys_clear(struct own *own)
{
    LIST_FOREACH_SAFE(it, &own->groups) {
        forget_group(own, container_of(it, struct own_group, link));
    }
}

void own_keys_init(struct own *own)
{
    list_init(&own->groups);
}

void own_keys_fini(struct own *own)
{
    own_keys_clear(own);
    hmap_fini(&own->keys);
    hmap_fini(&own->shards);
}

/* --- what nodes say --- */

static void remember(struct own *own, struct lane *l, int shard, const struct resp_value *v)
{
    struct own_group *g = group_at(own, shard, l);
    struct slice key = v->items[4].text;
    struct own_key *k = find_key(own, key);
    g->term = (uint64_t)v->items[2].number;
    g->version = (uint64_t)v->items[3].number;
    if (k == NULL) {
        k = mem_alloc(sizeof(*k) + key.len);
        *k = (struct own_key){.len = key.len};
        memcpy(k->bytes, key.ptr, key.len);
        hmap_insert(&own->keys, &k->node, hash_of(key));
    } else {
        leave(k);
    }
    join(k, g);
}

static void lose(struct exec *x, struct own_group *g)
{
    g->lane = NULL;
    g->lost_us = x->now_us;
    exec_wake(x, x->now_us + 1000);
}

static void place(struct own_group *g, const struct resp_value *v)
{
    g->term = (uint64_t)v->items[2].number;
    g->version = (uint64_t)v->items[3].number;
}

/* Where one primary ended, as far as was heard, and where the next one began. */
static void compare(struct exec *x, struct own *own, struct own_group *ended,
                    const struct own_group *next)
{
    bool whole = ended->term == next->begin_term && ended->version == next->begin_version;
    group_free(own, ended);
    if (!whole) {
        own_tell_all(x, own);
    }
}

/* BCAST: all that changed in the shard up to there was told by this lane. */
static void told(struct exec *x, struct own *own, struct lane *l, int shard,
                 const struct resp_value *v)
{
    struct own_group *g = find_group(own, shard, l);
    if (g != NULL) {
        place(g, v);
        return;
    }
    struct own_group *ended = find_group(own, shard, NULL);
    bool other = ended == NULL && hmap_first(&own->shards, hash_of_shard(shard)) != NULL;
    g = group_new(own, shard, l);
    place(g, v);
    g->begin_term = g->term;
    g->begin_version = g->version;
    if (ended != NULL) {
        compare(x, own, ended, g);
    } else if (!other && own->request == NULL && !l->whole) {
        own_tell_all(x, own); /* it may have been served for a while, unheard */
    }
}

static struct own_group *other_group(const struct own *own, const struct own_group *g)
{
    struct hmap_node *n = hmap_first(&own->shards, hash_of_shard(g->shard));
    for (; n != NULL; n = hmap_same(n)) {
        struct own_group *o = container_of(n, struct own_group, node);
        if (o != g && o->shard == g->shard) {
            return o;
        }
    }
    return NULL;
}

/* The shard's primary is another one, or its lane broke. */
static void end(struct exec *x, struct own *own, struct own_group *g)
{
    lose(x, g);
    struct own_group *next = own->flags & OWN_BCAST ? other_group(own, g) : NULL;
    if (next == NULL) {
        return;
    }
    if (next->lane != NULL) {
        compare(x, own, g, next);
    } else { /* two have ended, and what was between them is not known */
        group_free(own, g);
        own_tell_all(x, own);
    }
}

static void untrack(struct exec *x, struct own *own, struct lane *l, int shard,
                    const struct resp_value *v)
{
    struct own_group *g = find_group(own, shard, l);
    if (g != NULL) {
        place(g, v);
        end(x, own, g);
    }
}

/* track shard term version key, untrack shard term version, told shard term version */
void own_told(struct exec *x, struct lane *l, struct slice push)
{
    struct resp_value *v = resp_value_parse(push);
    struct own *own = l->own;
    bool broadcast = (own->flags & OWN_BCAST) != 0;
    int64_t shard = v == NULL || v->count < 4 ? -1 : v->items[1].number;
    if (shard < 0 || shard >= (int64_t)x->shards) {
        resp_value_free(&v);
        return;
    }
    if (slice_is(v->items[0].text, "untrack")) {
        untrack(x, own, l, (int)shard, v);
    } else if (slice_is(v->items[0].text, "told") && broadcast) {
        told(x, own, l, (int)shard, v);
    } else if (v->count == 5 && !broadcast) {
        remember(own, l, (int)shard, v);
    }
    resp_value_free(&v);
}

void own_keys_changed(struct own *own, struct slice value)
{
    struct resp_value *v = resp_value_parse(value);
    for (size_t i = 0; v != NULL && i < v->count; i++) {
        struct own_key *k = find_key(own, v->items[i].text);
        if (k != NULL) {
            key_free(own, k);
        }
    }
    resp_value_free(&v);
}

void own_keys_of_lane(struct exec *x, struct own *own, const struct lane *l, bool forget)
{
    LIST_FOREACH_SAFE(it, &own->groups) {
        struct own_group *g = container_of(it, struct own_group, link);
        if (g->asked == l) {
            g->asked = NULL;
        }
        if (g->lane != l) {
            continue;
        }
        if (forget) {
            forget_group(own, g);
        } else {
            end(x, own, g);
            it_next = own->groups.next; /* others may have gone with it */
        }
    }
}

/* --- the next primary --- */

/* So many at a time: the others are a group of their own. */
static void part(struct own *own, struct own_group *g)
{
    if (g->n <= ASK_KEYS) {
        return;
    }
    struct own_group *rest = group_new(own, g->shard, NULL);
    rest->term = g->term;
    rest->version = g->version;
    rest->lost_us = g->lost_us;
    while (g->n > ASK_KEYS) {
        struct own_key *k = container_of(g->keys.prev, struct own_key, link);
        leave(k);
        join(k, rest);
    }
}

static void ask(struct exec *x, struct own *own, struct own_group *g, struct lane *l)
{
    char digits[3][NUM_I64_MAX_LEN];
    const uint64_t numbers[3] = {(uint64_t)g->shard, g->term, g->version};
    part(own, g);
    struct slice *words = mem_alloc((5 + g->n) * sizeof(*words));
    size_t n = 0;
    words[n++] = SLICE("SHOAL");
    words[n++] = SLICE("TRACK");
    for (size_t i = 0; i < 3; i++) {
        words[n++] = slice_of(digits[i], num_print_u64(digits[i], numbers[i]));
    }
    LIST_FOREACH(it, &g->keys) {
        const struct own_key *k = container_of(it, struct own_key, link);
        words[n++] = slice_of(k->bytes, k->len);
    }
    g->asked = l;
    g->question = own_say(x, l, words, n);
    mem_free(words);
}

/* Nobody has served the shard for so long that the client is not left in doubt. */
static void give_up(struct exec *x, struct own *own, struct own_group *g)
{
    while (g->n > 0) {
        struct own_key *k = container_of(g->keys.next, struct own_key, link);
        own_tell_key(x, own, slice_of(k->bytes, k->len));
        key_free(own, k);
    }
    group_free(own, g);
}

void own_keys_tick(struct exec *x, struct own *own)
{
    bool waits = false;
    LIST_FOREACH_SAFE(it, &own->groups) {
        struct own_group *g = container_of(it, struct own_group, link);
        if (g->lane != NULL || g->asked != NULL) {
            continue;
        }
        if (own->flags & OWN_BCAST) {
            if (x->now_us - g->lost_us >= x->settings.failover_hold_us) {
                g->lost_us = x->now_us;
                own_tell_all(x, own);
            }
            waits = true;
            continue;
        }
        if (g->n == 0) {
            group_free(own, g);
            continue;
        }
        /* Whom the map names, whether it serves yet or not: nobody else may ask. */
        struct target *t = x->routes[g->shard].chosen;
        if (x->now_us - g->lost_us >= x->settings.failover_hold_us) {
            give_up(x, own, g);
            continue;
        }
        waits = true;
        struct lane *l = t == NULL ? NULL : own_lane(x, own->session, t);
        if (l != NULL && lane_ready(x, l)) {
            ask(x, own, g, l);
        }
    }
    if (waits) {
        exec_wake(x, x->now_us + TICK_US);
    }
}

static struct own_group *group_asked(const struct own *own, const struct lane *l, uint64_t number)
{
    LIST_FOREACH(it, &own->groups) {
        struct own_group *g = container_of(it, struct own_group, link);
        if (g->asked == l && g->question == number) {
            return g;
        }
    }
    return NULL;
}

/* What has changed, or may have. */
static void tell_changed(struct exec *x, struct own *own, const struct own_group *g,
                         const struct resp_value *changed)
{
    for (size_t i = 0; i < changed->count; i++) {
        struct own_key *k = find_key(own, changed->items[i].text);
        if (k != NULL && k->group == g) { /* else it was read again meanwhile */
            own_tell_key(x, own, changed->items[i].text);
            key_free(own, k);
        }
    }
}

void own_answered(struct exec *x, struct lane *l, struct call *question, struct slice reply)
{
    struct own *own = l->own;
    struct own_group *g = own == NULL ? NULL : group_asked(own, l, question->number);
    struct resp_value *v = g == NULL ? NULL : resp_value_parse(reply);
    l->acked = question->number;
    mem_free(question);
    if (own != NULL) {
        own_check(x, own);
    }
    if (g != NULL) {
        g->asked = NULL;
    }
    if (v == NULL || v->type != RESP_ARRAY || v->count != 3) {
        resp_value_free(&v);
        exec_wake(x, x->now_us + TICK_US); /* asked again */
        return;
    }
    tell_changed(x, own, g, &v->items[2]);
    struct own_group *to = group_at(own, g->shard, l);
    to->term = (uint64_t)v->items[0].number;
    to->version = (uint64_t)v->items[1].number;
    while (g->n > 0) {
        struct own_key *k = container_of(g->keys.next, struct own_key, link);
        leave(k);
        join(k, to);
    }
    group_free(own, g);
    resp_value_free(&v);
}
