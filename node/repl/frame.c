// SPDX-License-Identifier: BSD-3-Clause
#include "node/repl/frame.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

/* What stands in a frame between kind and body, in this order. */
enum has {
    HAS_SHARD = 1, /* shard and primary term */
    HAS_HISTORY = 2,
    HAS_BODY = 4,
    HAS_MARKS = 8,
    HAS_HELLO = 16,
};

static const struct shape {
    unsigned has;
    unsigned numbers; /* of 8 bytes */
} shapes[REPL_KINDS] = {
    [REPL_HELLO] = {HAS_HELLO, 2},
    [REPL_JOIN] = {HAS_SHARD, 6},
    [REPL_REVOKE] = {HAS_SHARD, 0},
    [REPL_ENTRIES] = {HAS_SHARD | HAS_BODY, 0},
    [REPL_ACK] = {HAS_MARKS, 0},
    [REPL_COMMIT] = {HAS_MARKS, 0},
    [REPL_COUNTED] = {HAS_SHARD, 5},
    [REPL_PULL] = {HAS_SHARD, 2},
    [REPL_BEACON] = {0, 2},
    [REPL_PROMISE] = {0, 3},
    [REPL_RESIGN] = {HAS_SHARD, 0},
    [REPL_REOPEN] = {HAS_SHARD, 0},
    [REPL_COPY_BEGIN] = {HAS_SHARD | HAS_HISTORY, 4},
    [REPL_COPY_KEYS] = {HAS_SHARD | HAS_BODY, 1},
    [REPL_COPY_WINDOW] = {HAS_SHARD | HAS_BODY, 2},
    [REPL_COPY_END] = {HAS_SHARD, 4},
    [REPL_COPY_ABORT] = {HAS_SHARD, 1},
    [REPL_COPY_LANES] = {HAS_SHARD | HAS_BODY, 1},
    [REPL_WINDOW] = {HAS_SHARD | HAS_BODY, 2},
    [REPL_COPY_TAKEN] = {HAS_SHARD, 2},
    [REPL_COPY_PORTRAIT] = {HAS_SHARD | HAS_BODY, 2},
    [REPL_COPY_PART] = {HAS_SHARD | HAS_BODY, 3},
};

#define NUMBERS_MAX  6
#define MARK_SIZE    20 /* COMMIT; ACK has 8 more */
#define MARK_DURABLE 8

/* -- writing ---------------------------------------------------------------------------------- */

static void write_numbers(const struct repl_message *m, uint64_t n[NUMBERS_MAX], struct slice *body)
{
    switch (m->kind) {
    case REPL_HELLO:
        n[0] = m->hello.version;
        n[1] = m->hello.incarnation;
        break;
    case REPL_JOIN:
        n[0] = m->join.last_term;
        n[1] = m->join.last_version;
        n[2] = m->join.own;
        n[3] = m->join.number;
        n[4] = m->join.first;
        n[5] = m->join.since;
        break;
    case REPL_ENTRIES:
        *body = m->entries.bytes;
        break;
    case REPL_COUNTED:
        n[0] = m->counted.counted;
        n[1] = m->counted.answer;
        n[2] = m->counted.number;
        n[3] = m->counted.commit;
        n[4] = m->counted.join;
        break;
    case REPL_PULL:
        n[0] = m->pull.from;
        n[1] = m->pull.prev_term;
        break;
    case REPL_BEACON:
        n[0] = (uint64_t)m->beacon.time_us;
        n[1] = (uint64_t)m->beacon.lease_us;
        break;
    case REPL_PROMISE:
        n[0] = (uint64_t)m->promise.time_us;
        n[1] = (uint64_t)m->promise.lease_us;
        n[2] = (uint64_t)m->promise.read_us;
        break;
    case REPL_COPY_BEGIN:
        n[0] = m->copy_begin.copy;
        n[1] = m->copy_begin.window_first;
        n[2] = (uint64_t)m->copy_begin.age_us;
        n[3] = m->copy_begin.join;
        break;
    case REPL_COPY_KEYS:
        n[0] = m->copy_keys.copy;
        *body = m->copy_keys.keys;
        break;
    case REPL_COPY_WINDOW:
        n[0] = m->copy_window.copy;
        n[1] = (uint64_t)m->copy_window.age_us;
        *body = m->copy_window.bytes;
        break;
    case REPL_COPY_END:
        n[0] = m->copy_end.copy;
        n[1] = m->copy_end.last_term;
        n[2] = m->copy_end.last_version;
        n[3] = m->copy_end.messages;
        break;
    case REPL_COPY_ABORT:
        n[0] = m->copy_abort;
        break;
    case REPL_COPY_LANES:
        n[0] = m->copy_lanes.copy;
        *body = m->copy_lanes.ids;
        break;
    case REPL_COPY_TAKEN:
        n[0] = m->copy_taken.copy;
        n[1] = m->copy_taken.bytes;
        break;
    case REPL_COPY_PORTRAIT:
        n[0] = m->copy_portrait.copy;
        n[1] = m->copy_portrait.number;
        *body = m->copy_portrait.head;
        break;
    case REPL_COPY_PART:
        n[0] = m->copy_part.copy;
        n[1] = m->copy_part.number;
        n[2] = m->copy_part.last;
        *body = m->copy_part.bytes;
        break;
    case REPL_WINDOW:
        n[0] = m->window.join;
        n[1] = (uint64_t)m->window.age_us;
        *body = m->window.bytes;
        break;
    case REPL_REVOKE:
    case REPL_ACK:
    case REPL_COMMIT:
    case REPL_RESIGN:
    case REPL_REOPEN:
    case REPL_KINDS:
    default:
        break;
    }
}

static void write_marks(const struct repl_message *m, struct str *to)
{
    size_t size = MARK_SIZE + (m->kind == REPL_ACK ? MARK_DURABLE : 0);
    char *at = str_reserve(to, m->marks.count * size);
    for (size_t i = 0; i < m->marks.count; i++, at += size) {
        const struct repl_mark *k = &m->marks.items[i];
        put_le32(at, k->shard);
        put_le64(at + 4, k->term);
        put_le64(at + 12, k->version);
        if (m->kind == REPL_ACK) {
            put_le64(at + MARK_SIZE, k->durable);
        }
    }
    to->len += m->marks.count * size;
}

void repl_frame_write(const struct repl_message *m, struct str *to, struct slice *body)
{
    INVARIANT(m->kind > 0);
    INVARIANT(m->kind < REPL_KINDS);
    const struct shape *shape = &shapes[m->kind];
    uint64_t n[NUMBERS_MAX] = {0};
    *body = (struct slice){.ptr = ""};
    write_numbers(m, n, body);
    char *at = str_reserve(to, 1 + 12 + NUMBERS_MAX * 8);
    char *begin = at;
    *at++ = (char)m->kind;
    if ((shape->has & HAS_SHARD) != 0) {
        put_le32(at, m->shard);
        put_le64(at + 4, m->term);
        at += 12;
    }
    for (unsigned i = 0; i < shape->numbers; i++, at += 8) {
        put_le64(at, n[i]);
    }
    to->len += (size_t)(at - begin);
    if ((shape->has & HAS_HELLO) != 0) {
        str_append(to, m->hello.id, NODE_ID_LEN);
        str_append(to, m->hello.cluster_id, NODE_ID_LEN);
    }
    if ((shape->has & HAS_MARKS) != 0) {
        write_marks(m, to);
    }
    if ((shape->has & HAS_HISTORY) != 0) {
        history_encode(&m->copy_begin.history, to);
    }
}

/* -- reading ---------------------------------------------------------------------------------- */

static bool read_hello(struct slice in, struct repl_hello *h)
{
    if (in.len != 2 * NODE_ID_LEN) {
        return false;
    }
    memcpy(h->id, in.ptr, NODE_ID_LEN);
    memcpy(h->cluster_id, in.ptr + NODE_ID_LEN, NODE_ID_LEN);
    h->id[NODE_ID_LEN] = h->cluster_id[NODE_ID_LEN] = '\0';
    return strspn(h->id, "0123456789abcdef") == NODE_ID_LEN &&
           strspn(h->cluster_id, "0123456789abcdef") == NODE_ID_LEN;
}

static bool read_marks(struct slice in, struct repl_message *out, struct repl_frame_room *room)
{
    size_t size = MARK_SIZE + (out->kind == REPL_ACK ? MARK_DURABLE : 0);
    size_t count = in.len / size;
    if (in.len % size != 0) {
        return false;
    }
    if (count > room->cap) {
        room->cap = MAX(count, 64);
        room->marks = mem_realloc(room->marks, sizeof(room->marks[0]) * room->cap);
    }
    const char *at = in.ptr;
    for (size_t i = 0; i < count; i++, at += size) {
        room->marks[i] = (struct repl_mark){
            .shard = get_le32(at),
            .term = get_le64(at + 4),
            .version = get_le64(at + 12),
            .durable = out->kind == REPL_ACK ? get_le64(at + MARK_SIZE) : 0,
        };
    }
    out->marks = (struct repl_marks){.items = room->marks, .count = count};
    return true;
}

static bool is_bool(uint64_t v)
{
    return v <= 1;
}

/* Fields out of numbers; false: out of their range. */
static bool read_numbers(struct repl_message *out, const uint64_t n[NUMBERS_MAX], struct slice rest)
{
    switch (out->kind) {
    case REPL_HELLO:
        out->hello.version = (uint32_t)n[0];
        out->hello.incarnation = n[1];
        return n[0] <= UINT32_MAX;
    case REPL_JOIN:
        out->join = (struct repl_join){.last_term = n[0],
                                       .last_version = n[1],
                                       .own = n[2],
                                       .number = n[3],
                                       .first = n[4],
                                       .since = n[5]};
        return (n[0] == 0) == (n[1] == 0);
    case REPL_ENTRIES:
        out->entries.bytes = rest;
        return true;
    case REPL_COUNTED:
        out->counted = (struct repl_counted){.counted = (uint32_t)n[0],
                                             .answer = (uint32_t)n[1],
                                             .number = n[2],
                                             .commit = n[3],
                                             .join = n[4]};
        return is_bool(n[0]) && is_bool(n[1]);
    case REPL_PULL:
        out->pull = (struct repl_pull){.from = n[0], .prev_term = n[1]};
        return true;
    case REPL_BEACON:
        out->beacon = (struct repl_beacon){.time_us = (int64_t)n[0], .lease_us = (int64_t)n[1]};
        return true;
    case REPL_PROMISE:
        out->promise = (struct repl_promise){
            .time_us = (int64_t)n[0], .lease_us = (int64_t)n[1], .read_us = (int64_t)n[2]};
        return true;
    case REPL_COPY_BEGIN:
        out->copy_begin.copy = n[0];
        out->copy_begin.window_first = n[1];
        out->copy_begin.age_us = (int64_t)n[2];
        out->copy_begin.join = n[3];
        return (int64_t)n[2] >= -1 && (int64_t)n[2] < INT64_MAX / 4;
    case REPL_COPY_KEYS:
        out->copy_keys = (struct repl_copy_keys){.copy = n[0], .keys = rest};
        return true;
    case REPL_COPY_WINDOW:
        out->copy_window =
            (struct repl_copy_window){.copy = n[0], .age_us = (int64_t)n[1], .bytes = rest};
        return (int64_t)n[1] >= 0 && (int64_t)n[1] < INT64_MAX / 4;
    case REPL_COPY_END:
        out->copy_end = (struct repl_copy_end){
            .copy = n[0], .last_term = n[1], .last_version = n[2], .messages = n[3]};
        return true;
    case REPL_COPY_ABORT:
        out->copy_abort = n[0];
        return true;
    case REPL_COPY_LANES:
        out->copy_lanes = (struct repl_copy_lanes){.copy = n[0], .ids = rest};
        return rest.len % 8 == 0;
    case REPL_COPY_TAKEN:
        out->copy_taken = (struct repl_copy_taken){.copy = n[0], .bytes = n[1]};
        return true;
    case REPL_COPY_PORTRAIT:
        out->copy_portrait =
            (struct repl_copy_portrait){.copy = n[0], .number = n[1], .head = rest};
        return true;
    case REPL_COPY_PART:
        out->copy_part = (struct repl_copy_part){
            .copy = n[0], .number = n[1], .last = (uint32_t)n[2], .bytes = rest};
        return is_bool(n[2]);
    case REPL_WINDOW:
        out->window = (struct repl_window){.join = n[0], .age_us = (int64_t)n[1], .bytes = rest};
        return (int64_t)n[1] >= -1 && (int64_t)n[1] < INT64_MAX / 4;
    case REPL_REVOKE:
    case REPL_ACK:
    case REPL_COMMIT:
    case REPL_RESIGN:
    case REPL_REOPEN:
        return true;
    case REPL_KINDS:
    default:
        return false;
    }
}

bool repl_frame_read(struct slice in, struct repl_message *out, struct repl_frame_room *room)
{
    if (in.len < 1 || (unsigned char)in.ptr[0] == 0 || (unsigned char)in.ptr[0] >= REPL_KINDS) {
        return false;
    }
    out->kind = (enum repl_kind)(unsigned char)in.ptr[0];
    out->shard = 0;
    out->term = 0;
    const struct shape *shape = &shapes[out->kind];
    const char *at = in.ptr + 1;
    size_t head = 1 + ((shape->has & HAS_SHARD) != 0 ? 12 : 0) + (size_t)shape->numbers * 8;
    if (in.len < head) {
        return false;
    }
    if ((shape->has & HAS_SHARD) != 0) {
        out->shard = get_le32(at);
        out->term = get_le64(at + 4);
        at += 12;
    }
    uint64_t n[NUMBERS_MAX] = {0};
    for (unsigned i = 0; i < shape->numbers; i++, at += 8) {
        n[i] = get_le64(at);
    }
    struct slice rest = slice_of(at, in.len - head);
    if (!read_numbers(out, n, rest)) {
        return false;
    }
    if ((shape->has & HAS_HELLO) != 0) {
        return read_hello(rest, &out->hello);
    }
    if ((shape->has & HAS_MARKS) != 0) {
        return read_marks(rest, out, room);
    }
    if ((shape->has & HAS_HISTORY) != 0) {
        return history_decode(rest, &out->copy_begin.history);
    }
    return rest.len == 0 || (shape->has & HAS_BODY) != 0;
}

void repl_frame_room_fini(struct repl_frame_room *room)
{
    mem_free(room->marks);
    *room = (struct repl_frame_room){0};
}
