// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/effect.h"

#include "node/keyspace/feed.h"
#include "node/keyspace/notify.h"
#include "node/types/rdb.h"
#include "node/types/string.h"

#include "common/base/mem.h"

#define MAGIC 0xeffec701U

enum {
    /* A larger one is given back. But the first of a group is nearly always the only one: that a
     * large value finds its pages there spares it a page fault each 4 KB. */
    FIRST_KEEP_MAX = 512 << 10,
    BUFFER_KEEP_MAX = 64 << 10,
    BUFFERS_KEEP = 256,
};

static void no_entry(void *arg, struct entry *e)
{
    (void)arg;
    (void)e;
}

static void no_touch(void *arg, uint32_t shard, uint64_t hash)
{
    (void)arg;
    (void)shard;
    (void)hash;
}

static void no_touch_all(void *arg, uint32_t shard)
{
    (void)arg;
    (void)shard;
}

const struct effect_sink *effect_sink_nobody(void)
{
    static const struct effect_sink nobody = {
        .entry = no_entry, .touched = no_touch, .touched_all = no_touch_all};
    return &nobody;
}

struct collector *collector_new(const struct effect_sink *sink)
{
    struct collector *e = mem_zalloc(sizeof(*e));
    e->magic = MAGIC;
    e->sink = *sink;
    e->group_max = EFFECT_GROUP_MAX;
    return e;
}

void collector_free(struct collector **ep)
{
    struct collector *e = *ep;
    if (e == NULL) {
        return;
    }
    CHECK_OBJ(e, MAGIC);
    INVARIANT(!e->open);
    for (uint32_t i = 0; i < e->cap; i++) {
        str_fini(&e->parts[i].effects);
    }
    mem_free(e->parts);
    e->magic = 0;
    mem_free(e);
    *ep = NULL;
}

/* ---- groups ---- */

void effect_open(struct keyspace *ks, int64_t now_ms)
{
    struct collector *e = ks->collector;
    if (e != NULL) {
        INVARIANT(!e->open);
        e->open = true;
        e->now_ms = now_ms;
    }
}

static struct effect_part *make_part(struct keyspace *ks, struct collector *e, uint32_t shard)
{
    INVARIANT(e->open);
    if (e->n == e->cap) {
        e->cap = MAX(e->cap * 2, 4);
        e->parts = mem_realloc(e->parts, e->cap * sizeof(*e->parts));
        memset(e->parts + e->n, 0, (e->cap - e->n) * sizeof(*e->parts));
    }
    struct effect_part *p = &e->parts[e->n++];
    p->shard = shard;
    p->answers = false;
    p->shared = false;
    p->share = 0;
    p->n_effects = 0;
    str_clear(&p->effects);
    ks->shards[shard]->part = e->n;
    return p;
}

static inline struct effect_part *part_of(struct keyspace *ks, struct collector *e, uint32_t shard)
{
    uint32_t at = ks->shards[shard]->part;
    return LIKELY(at != 0) ? &e->parts[at - 1] : make_part(ks, e, shard);
}

void effect_put(struct keyspace *ks, uint32_t shard, int db, const struct slice *words, size_t n)
{
    struct effect_part *p = part_of(ks, ks->collector, shard);
    effects_add(&p->effects, db, words, n);
    p->n_effects++;
    ks->collector->longest = MAX(ks->collector->longest, p->effects.len);
}

void effect_answers(struct keyspace *ks, uint32_t shard)
{
    part_of(ks, ks->collector, shard)->answers = true;
}

void effect_answers_all(struct keyspace *ks)
{
    struct collector *e = ks->collector;
    for (uint32_t i = 0; i < e->n; i++) {
        e->parts[i].answers |= e->parts[i].n_effects > 0;
    }
}

uint32_t effect_entries(const struct keyspace *ks)
{
    const struct collector *e = ks->collector;
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        n += e->parts[i].n_effects > 0 || e->parts[i].answers;
    }
    return n;
}

void effect_answers_none(struct keyspace *ks)
{
    struct collector *e = ks->collector;
    for (uint32_t i = 0; i < e->n; i++) {
        e->parts[i].answers = false;
    }
}

void effect_share(struct keyspace *ks, uint32_t shard, int64_t n)
{
    struct effect_part *p = part_of(ks, ks->collector, shard);
    p->shared = true;
    p->share += n;
}

static void hand_over(struct collector *e, const struct effect_part *p,
                      const struct effect_origin *o)
{
    char digits[NUM_I64_MAX_LEN + 3];
    struct entry entry = {.shard = (int)p->shard,
                          .time_ms = e->now_ms,
                          .n_effects = p->n_effects,
                          .reply = SLICE(""),
                          .effects = str_slice(&p->effects)};
    if (p->answers) {
        INVARIANT(o != NULL);
        entry.lane = o->lane;
        entry.number = o->number;
        entry.flags = o->reply_gone ? ENTRY_REPLY_GONE : 0;
        entry.reply = o->reply;
    }
    if (UNLIKELY(p->answers && p->shared)) {
        digits[0] = ':';
        size_t n = 1 + num_print_i64(digits + 1, p->share);
        memcpy(digits + n, "\r\n", 2);
        entry.reply = slice_of(digits, n + 2);
        entry.flags = 0;
    }
    e->entries++;
    e->effects += p->n_effects;
    e->bytes += entry.effects.len + entry.reply.len;
    e->sink.entry(e->sink.arg, &entry);
}

void effect_close(struct keyspace *ks, const struct effect_origin *o)
{
    struct collector *e = ks->collector;
    if (e == NULL) {
        return;
    }
    INVARIANT(e->open);
    for (uint32_t i = 0; i < e->n; i++) {
        struct effect_part *p = &e->parts[i];
        ks->shards[p->shard]->part = 0;
        INVARIANT(!p->answers || o != NULL);
        if (p->n_effects > 0 || p->answers) {
            hand_over(e, p, o);
        }
        size_t keep_max = i == 0 ? FIRST_KEEP_MAX : BUFFER_KEEP_MAX;
        if (UNLIKELY(p->effects.cap > keep_max || i >= BUFFERS_KEEP)) {
            str_fini(&p->effects);
        }
    }
    e->n = 0;
    e->longest = 0;
    e->open = false;
    if (UNLIKELY(e->feed != NULL)) {
        feed_close(e->feed);
    }
}

/* ---- keys by value ---- */

static void put_as_value(const struct db *db, uint32_t shard, const struct slice *words, size_t n)
{
    const struct collector *e = db->ks->collector;
    effect_put(db->ks, shard, db->index, words, n);
    if (UNLIKELY(e->feed != NULL && e->feed->values)) {
        feed_put(e->feed, db->index, words, n);
    }
}

void effect_put_value(const struct db *db, const struct probe *p, struct slice key)
{
    struct slice words[6] = {SLICE("DEL"), key};
    struct object *o = db_raw(db, p, key);
    if (o == NULL) {
        put_as_value(db, p->shard, words, 2);
        return;
    }
    char digits[NUM_I64_MAX_LEN];
    char time[NUM_I64_MAX_LEN];
    int64_t at = object_expire(o);
    struct slice at_text = slice_of(time, num_print_i64(time, MAX(at, 0)));
    if (o->type == OBJECT_STRING) {
        words[0] = SLICE("SET");
        words[2] = string_bytes(o, digits);
        words[3] = SLICE("PXAT");
        words[4] = at_text;
        put_as_value(db, p->shard, words, at == OBJECT_NO_EXPIRE ? 3 : 5);
        return;
    }
    struct str payload = {0};
    rdb_write_payload(&payload, o, false);
    words[0] = SLICE("RESTORE");
    words[2] = at_text; /* 0: for ever */
    words[3] = str_slice(&payload);
    words[4] = SLICE("REPLACE");
    words[5] = SLICE("ABSTTL");
    put_as_value(db, p->shard, words, 6);
    str_fini(&payload);
}

/* ---- told by the keyspace ---- */

void effect_changed(const struct db *db, const struct probe *p, struct slice key)
{
    struct collector *e = db->ks->collector;
    e->sink.touched(e->sink.arg, p->shard, p->hash);
    if (db->applying || e->expiring) {
        return;
    }
    INVARIANT(e->open);
    e->changed = true;
    e->changed_shard = p->shard;
    if (UNLIKELY(e->by_value)) {
        effect_put_value(db, p, key);
    }
}

/* The removal of a key is told on, as a DEL that nobody asked for. */
static void tell_gone(const struct db *db, const struct probe *p, struct slice key, bool lazily)
{
    struct collector *e = db->ks->collector;
    if (LIKELY(e == NULL)) {
        keyspace_changed(db, p, key);
        return;
    }
    e->expiring = true;
    keyspace_changed(db, p, key);
    e->expiring = false;
    bool alone = !e->open;
    if (alone) {
        effect_open(db->ks, db->now_ms);
    }
    effect_put(db->ks, p->shard, db->index, (struct slice[]){SLICE("DEL"), key}, 2);
    if (UNLIKELY(e->feed != NULL)) {
        struct slice words[2] = {lazily ? SLICE("UNLINK") : SLICE("DEL"), key};
        feed_put(e->feed, db->index, words, 2);
    }
    if (alone) {
        effect_close(db->ks, NULL);
    }
}

void keyspace_expired(const struct db *db, const struct probe *p, struct slice key)
{
    enum change_cause was = db->ks->cause;
    db->ks->cause = was == CHANGE_BY_COMMAND ? CHANGE_BY_EXPIRY : was;
    db->ks->stats.expired_keys++;
    tell_gone(db, p, key, db->ks->settings.lazy_expire);
    db->ks->cause = was;
    notify(db, NOTIFY_EXPIRED, "expired", key);
}

void keyspace_evicted(const struct db *db, const struct probe *p, struct slice key)
{
    enum change_cause was = db->ks->cause;
    db->ks->cause = CHANGE_BY_EVICTION;
    tell_gone(db, p, key, db->ks->settings.lazy_eviction);
    db->ks->cause = was;
    notify(db, NOTIFY_EVICTED, "evicted", key);
}

void effect_flush(struct keyspace *ks, int shard, int db, uint64_t keys)
{
    struct collector *e = ks->collector;
    if (e == NULL) {
        return;
    }
    e->sink.touched_all(e->sink.arg, (uint32_t)shard);
    if (e->open) {
        e->said = true;
    }
    if (e->open && keys > 0) {
        struct slice word = db < 0 ? SLICE("FLUSHALL") : SLICE("FLUSHDB");
        effect_put(ks, (uint32_t)shard, MAX(db, 0), &word, 1);
    }
}

void effect_swap(struct keyspace *ks, int shard, int db_a, int db_b)
{
    struct collector *e = ks->collector;
    if (e == NULL) {
        return;
    }
    e->sink.touched_all(e->sink.arg, (uint32_t)shard);
    if (e->open) {
        char a[NUM_I64_MAX_LEN];
        char b[NUM_I64_MAX_LEN];
        struct slice words[3] = {SLICE("SWAPDB"), {.ptr = a}, {.ptr = b}};
        words[1].len = num_print_i64(a, db_a);
        words[2].len = num_print_i64(b, db_b);
        e->said = true;
        effect_put(ks, (uint32_t)shard, 0, words, 3);
    }
}
