// SPDX-License-Identifier: BSD-3-Clause
/* Full copies, at their source: the keys in the order of their hashes, a slice a turn, and the
 * entries that are written meanwhile, in one stream. What the stream says is always the state at
 * the last entry in it, for all keys below the copy's place and those that were sent ahead. A value
 * that is too large for a slice has its place in the stream as any other, as a portrait of what it
 * is there; its parts come later, and the replica takes nothing of what follows that place before
 * it has them all (inbox.c). */
#include "node/repl/repl_priv.h"

#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/base/mem.h"

enum { PART_COST = 2 * 1024 }; /* of a piece, in bytes, beside those that it has */

void copy_want(struct repl *r, struct repl_shard *s, struct member *m)
{
    (void)s;
    if (!m->copy_wanted && m->copy == NULL) {
        m->copy_wanted = true;
        r->copies_queued++;
    }
}

void copy_unwant(struct repl *r, struct member *m)
{
    if (m->copy_wanted) {
        m->copy_wanted = false;
        r->copies_queued--;
    }
}

static void drop(struct repl *r, struct repl_shard *s, struct member *m)
{
    for (size_t i = 0; i < m->copy->n_portraits; i++) {
        r->env.copy_part_end(r->env.arg, m->copy->portraits[i].handle);
    }
    mem_free(m->copy->portraits);
    mem_free(m->copy->ahead);
    mem_free(m->copy);
    m->copy = NULL;
    s->copies--;
    r->stats.copies_running--;
}

void copy_stop(struct repl *r, struct repl_shard *s, struct member *m, bool tell)
{
    struct repl_message msg = {.kind = REPL_COPY_ABORT,
                               .shard = (uint32_t)s->shard,
                               .term = s->pterm,
                               .copy_abort = m->copy->number};
    drop(r, s, m);
    r->stats.copies_broken++;
    m->flow = FLOW_NONE;
    m->copy_after_us = r->now_us + COPY_RETRY_US;
    s->trouble = true;
    if (tell && peer_of(r, m->peer)->up) {
        repl_send(r, m->peer, &msg); /* it joins again, and is given a copy then */
    }
}

void repl_copies_restart(struct repl *r, int64_t now_us)
{
    r->now_us = MAX(r->now_us, now_us);
    for (size_t i = 0; i < r->held.count && r->stats.copies_running > 0; i++) {
        struct repl_shard *s = shard_of(r, r->held.items[i]);
        for (int j = 0; j < s->n_members; j++) {
            if (s->members[j].copy != NULL) {
                copy_stop(r, s, &s->members[j], true);
                s->members[j].copy_after_us = NEVER;
            }
        }
    }
}

/* -- beginning and end ------------------------------------------------------------------------ */

/* Before the window, which may tell of the same. */
static void send_lanes(struct repl *r, const struct repl_shard *s, const struct member *m)
{
    if (s->n_lanes == 0) {
        return;
    }
    char *ids = mem_alloc(s->n_lanes * 8);
    for (uint32_t i = 0; i < s->n_lanes; i++) {
        put_le64(ids + (size_t)i * 8, s->lanes[(s->at_lane + i) % s->n_lanes]);
    }
    struct repl_message msg = {
        .kind = REPL_COPY_LANES,
        .shard = (uint32_t)s->shard,
        .term = s->pterm,
        .copy_lanes = {.copy = m->copy->number, .ids = slice_of(ids, (size_t)s->n_lanes * 8)},
    };
    repl_send(r, m->peer, &msg);
    mem_free(ids);
}

static void start(struct repl *r, struct repl_shard *s, struct member *m)
{
    copy_unwant(r, m);
    m->copy = mem_zalloc(sizeof(*m->copy));
    m->copy->number = ++r->copy_number;
    m->flow = FLOW_COPY;
    m->sent = s->history.version;
    m->acked = m->durable = 0;
    s->copies++;
    r->env.copy_begins(r->env.arg, s->shard);
    r->stats.copies_running++;
    r->stats.copies_begun++;
    /* So many that it costs no more than a slice. */
    struct str window = {0};
    struct entry first = {.version = s->history.version + 1};
    int64_t since;
    backlog_tail(r->backlog, s->shard, s->history.version, WINDOW_MAX, &window, &since);
    if (window.len > 0) {
        (void)entry_read_trusted(window.ptr, &first);
    }
    struct repl_message msg = {
        .kind = REPL_COPY_BEGIN,
        .shard = (uint32_t)s->shard,
        .term = s->pterm,
        .copy_begin = {.copy = m->copy->number,
                       .join = m->join_number,
                       .history = s->history,
                       .window_first = first.version,
                       .age_us = since == INT64_MIN ? -1 : MAX(r->now_us - since, 0)},
    };
    repl_send(r, m->peer, &msg);
    send_lanes(r, s, m);
    msg = (struct repl_message){
        .kind = REPL_COPY_WINDOW,
        .shard = (uint32_t)s->shard,
        .term = s->pterm,
        .copy_window = {.copy = m->copy->number, .bytes = str_slice(&window)},
    };
    if (window.len > 0) {
        repl_send(r, m->peer, &msg);
    }
    str_fini(&window);
    repl_dirty(r, s);
}

static void finish(struct repl *r, struct repl_shard *s, struct member *m)
{
    struct repl_message msg = {
        .kind = REPL_COPY_END,
        .shard = (uint32_t)s->shard,
        .term = s->pterm,
        .copy_end = {.copy = m->copy->number,
                     .last_term = history_term(&s->history),
                     .last_version = s->history.version,
                     .messages = m->copy->messages},
    };
    repl_send(r, m->peer, &msg);
    drop(r, s, m);
    r->stats.copies_ended++;
    m->flow = FLOW_LOG;
    m->sent = s->history.version;
    m->progress_us = r->now_us;
    m->goal = 0;
    m->round_us = INT64_MAX;
    primary_tell_counted(r, s, m, false);
}

void copy_schedule(struct repl *r)
{
    for (size_t i = 0; i < r->held.count && r->copies_queued > 0; i++) {
        struct repl_shard *s = shard_of(r, r->held.items[i]);
        if (s->state != REPL_SERVE || s->handing >= 0) {
            continue;
        }
        for (int j = 0; j < s->n_members; j++) {
            struct member *m = &s->members[j];
            if (m->copy_wanted && m->joined && r->now_us >= m->copy_after_us &&
                r->stats.copies_running < r->set.copies_max) {
                start(r, s, m);
            }
        }
    }
}

/* -- keys ------------------------------------------------------------------------------------- */

/* `bytes`: of keys or parts. */
static void send(struct repl *r, const struct repl_shard *s, struct member *m,
                 struct repl_message *msg, size_t bytes)
{
    msg->shard = (uint32_t)s->shard;
    msg->term = s->pterm;
    m->copy->messages++;
    m->copy->sent += bytes;
    r->stats.copy_bytes += bytes;
    r->copy_left -= (int64_t)bytes;
    if (r->set.copy_bandwidth > 0) {
        r->copy_tokens -= (double)bytes;
    }
    repl_send(r, m->peer, msg);
}

static void send_portrait(struct repl *r, const struct repl_shard *s, struct member *m,
                          const struct repl_portrait *p)
{
    struct copy *c = m->copy;
    struct repl_message msg = {
        .kind = REPL_COPY_PORTRAIT,
        .copy_portrait = {.copy = c->number, .number = ++c->portrait_number, .head = p->head}};
    if (c->n_portraits == c->cap_portraits) {
        c->cap_portraits = MAX(c->cap_portraits * 2, (size_t)4);
        c->portraits = mem_realloc(c->portraits, c->cap_portraits * sizeof(c->portraits[0]));
    }
    c->portraits[c->n_portraits++] =
        (struct sending){.number = c->portrait_number, .handle = p->handle};
    r->stats.copy_portraits++;
    send(r, s, m, &msg, 0);
}

/* All that was given at this moment. */
static void send_copied(struct repl *r, const struct repl_shard *s, struct member *m,
                        const struct repl_copied *got)
{
    struct repl_message msg = {.kind = REPL_COPY_KEYS,
                               .copy_keys = {.copy = m->copy->number, .keys = got->bytes}};
    if (got->bytes.len > 0) {
        send(r, s, m, &msg, got->bytes.len);
    }
    for (size_t i = 0; i < got->n_portraits; i++) {
        send_portrait(r, s, m, &got->portraits[i]);
    }
    r->stats.copy_keys += got->keys;
}

/* Of the oldest portrait. Whatever is written meanwhile: it shows what was when it began. */
static void send_part(struct repl *r, const struct repl_shard *s, struct member *m, size_t budget)
{
    struct copy *c = m->copy;
    struct sending p = c->portraits[0];
    struct slice part = {.ptr = ""};
    bool more = r->env.copy_part(r->env.arg, p.handle, budget, &part);
    struct repl_message msg = {
        .kind = REPL_COPY_PART,
        .copy_part = {.copy = c->number, .number = p.number, .last = !more, .bytes = part}};
    if (part.len > 0 || !more) {
        send(r, s, m, &msg, part.len);
    }
    r->copy_left -= PART_COST; /* however few bytes came of it */
    if (!more) {
        r->env.copy_part_end(r->env.arg, p.handle);
        memmove(c->portraits, c->portraits + 1, --c->n_portraits * sizeof(c->portraits[0]));
    }
}

/* The next slice goes at this turn's end. */
void copy_taken(struct repl *r, struct repl_shard *s, int peer, const struct repl_copy_taken *t)
{
    struct member *m = shard_is_primary(s) ? primary_member(s, peer) : NULL;
    if (m == NULL || m->copy == NULL || m->copy->number != t->copy) {
        return; /* it is over */
    }
    if (t->bytes > m->copy->sent) {
        repl_bad(r, peer, "takes what it was not sent");
        return;
    }
    m->copy->taken = MAX(m->copy->taken, t->bytes);
    repl_dirty(r, s);
}

/* How much of it may be sent now; 0: the link, the replica or the bandwidth must give way first. */
static size_t room_of(const struct repl *r, const struct member *m)
{
    size_t queued = r->env.queued(r->env.arg, m->peer);
    bool limited = r->set.copy_bandwidth > 0;
    if (queued >= r->set.link_fill || m->copy->sent - m->copy->taken >= r->set.copy_untaken ||
        (limited && r->copy_tokens < 1)) {
        return 0;
    }
    size_t room = MIN((size_t)COPY_PIECE, r->set.link_fill - queued);
    return limited ? MAX(MIN(room, (size_t)r->copy_tokens), (size_t)1) : room;
}

static void send_piece(struct repl *r, const struct repl_shard *s, struct member *m, size_t budget)
{
    if (m->copy->n_portraits > 0) {
        send_part(r, s, m, budget);
        return;
    }
    struct repl_copied got = {0};
    r->env.copy_scan(r->env.arg, s->shard, m->copy->at, budget, &got);
    r->copy_left -= PART_COST;
    send_copied(r, s, m, &got);
    m->copy->at = got.next;
    m->copy->scanned = got.end;
}

bool copy_step(struct repl *r, struct repl_shard *s, struct member *m)
{
    if (r->env.queued(r->env.arg, m->peer) > r->set.link_overrun) {
        log_event(LOG_WARNING, "repl",
                  "a copy breaks off: its replica is too slow shard=%d node=%.8s", s->shard,
                  peer_of(r, m->peer)->id);
        copy_stop(r, s, m, true);
        return false;
    }
    for (;;) {
        size_t room = room_of(r, m);
        if (room == 0 || (!PLANTED(COPY_ORDER) && !turn_send_entries(r, s, m, false))) {
            return false;
        }
        if (r->copy_left <= 0 || !r->env.copy_time(r->env.arg)) {
            return true; /* others had all of this turn */
        }
        send_piece(r, s, m, room);
        if (m->copy->scanned && m->copy->n_portraits == 0) {
            turn_send_entries(r, s, m, true);
            if (m->copy != NULL) {
                finish(r, s, m);
            }
            return false;
        }
    }
}

/* -- ahead of the cursor ---------------------------------------------------------------------- */

static uint64_t ahead_key(int db, uint64_t hash)
{
    uint64_t k = hash ^ ((uint64_t)(unsigned)db * UINT64_C(0x9e3779b97f4a7c15));
    return k == 0 ? 1 : k;
}

static void ahead_insert(uint64_t *set, size_t cap, uint64_t k)
{
    size_t at = (size_t)k & (cap - 1);
    while (set[at] != 0) {
        at = (at + 1) & (cap - 1);
    }
    set[at] = k;
}

/* False: it was there already. */
static bool ahead_add(struct copy *c, uint64_t k)
{
    for (size_t at = (size_t)k & (c->ahead_cap - 1); c->ahead_cap > 0 && c->ahead[at] != 0;
         at = (at + 1) & (c->ahead_cap - 1)) {
        if (c->ahead[at] == k) {
            return false;
        }
    }
    if (c->ahead_count * 2 >= c->ahead_cap) {
        size_t cap = c->ahead_cap == 0 ? 256 : c->ahead_cap * 2;
        uint64_t *set = mem_zalloc(cap * sizeof(set[0]));
        for (size_t i = 0; i < c->ahead_cap; i++) {
            if (c->ahead[i] != 0) {
                ahead_insert(set, cap, c->ahead[i]);
            }
        }
        mem_free(c->ahead);
        c->ahead = set;
        c->ahead_cap = cap;
    }
    ahead_insert(c->ahead, c->ahead_cap, k);
    c->ahead_count++;
    return true;
}

/* All effects so far are in the log: to send a key again would do no harm now. */
void copy_appended(struct repl_shard *s)
{
    for (int i = 0; i < s->n_members; i++) {
        struct copy *c = s->members[i].copy;
        if (c != NULL && c->ahead_count > SENT_AHEAD_MAX) {
            mem_free(c->ahead);
            c->ahead = NULL;
            c->ahead_cap = c->ahead_count = 0;
        }
    }
}

static bool is_below(const struct repl_place *at, int db, uint64_t hash)
{
    return db < at->db || (db == at->db && hash < at->hash);
}

bool repl_copying(const struct repl *r)
{
    return r->stats.copies_running > 0;
}

void repl_before_write(struct repl *r, int shard, int db, uint64_t hash, struct slice key)
{
    struct repl_shard *s = shard_of(r, shard);
    if (s == NULL || s->copies == 0 || PLANTED(COPY_NO_AHEAD)) {
        return;
    }
    for (int i = 0; i < s->n_members; i++) {
        struct member *m = &s->members[i];
        if (m->copy == NULL || m->copy->scanned || is_below(&m->copy->at, db, hash) ||
            !ahead_add(m->copy, ahead_key(db, hash))) {
            continue;
        }
        struct repl_place at = {.db = db, .hash = hash};
        struct repl_copied got = {0};
        r->env.copy_key(r->env.arg, shard, at, key, &got);
        if (got.bytes.len == 0 && got.n_portraits == 0) {
            continue;
        }
        if (!PLANTED(COPY_ORDER)) {
            turn_send_entries(r, s, m, true);
        }
        if (m->copy != NULL) {
            send_copied(r, s, m, &got);
            continue;
        }
        for (size_t j = 0; j < got.n_portraits; j++) { /* it broke off on the way */
            r->env.copy_part_end(r->env.arg, got.portraits[j].handle);
        }
    }
}
