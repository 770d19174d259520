// SPDX-License-Identifier: BSD-3-Clause
#include "node/log/entry.h"

#include "common/base/bytes.h"

/* Where the fields are. */
enum {
    AT_LENGTH = 0,
    AT_SHARD = 4,
    AT_FLAGS = 6,
    AT_TERM = 8,
    AT_VERSION = 16,
    AT_TIME = 24,
    AT_LANE = 32,
    AT_NUMBER = 40,
    AT_EFFECTS = 48,
    AT_REPLY = 52,
    AT_ZERO = 54,
};

#define FLAGS_KNOWN (ENTRY_REPLY_GONE | ENTRY_STRIPPED | ENTRY_LANE_END)

void entry_write(char *to, const struct entry *e)
{
    size_t len = entry_size(e);
    INVARIANT(len <= ENTRY_LEN_MAX);
    INVARIANT(e->reply.len <= ENTRY_REPLY_MAX);
    put_le32(to + AT_LENGTH, (uint32_t)len);
    put_le16(to + AT_SHARD, (uint16_t)e->shard);
    put_le16(to + AT_FLAGS, e->flags);
    put_le64(to + AT_TERM, e->term);
    put_le64(to + AT_VERSION, e->version);
    put_le64(to + AT_TIME, (uint64_t)e->time_ms);
    put_le64(to + AT_LANE, e->lane);
    put_le64(to + AT_NUMBER, e->number);
    put_le32(to + AT_EFFECTS, e->n_effects);
    put_le16(to + AT_REPLY, (uint16_t)e->reply.len);
    put_le16(to + AT_ZERO, 0);
    if (e->reply.len != 0) {
        memcpy(to + ENTRY_HEAD, e->reply.ptr, e->reply.len);
    }
    if (e->effects.len != 0) {
        memcpy(to + ENTRY_HEAD + e->reply.len, e->effects.ptr, e->effects.len);
    }
}

size_t entry_read_trusted(const char *in, struct entry *out)
{
    size_t len = get_le32(in + AT_LENGTH);
    size_t reply = get_le16(in + AT_REPLY);
    *out = (struct entry){
        .shard = get_le16(in + AT_SHARD),
        .flags = get_le16(in + AT_FLAGS),
        .term = get_le64(in + AT_TERM),
        .version = get_le64(in + AT_VERSION),
        .time_ms = (int64_t)get_le64(in + AT_TIME),
        .lane = get_le64(in + AT_LANE),
        .number = get_le64(in + AT_NUMBER),
        .n_effects = get_le32(in + AT_EFFECTS),
        .reply = slice_of(in + ENTRY_HEAD, reply),
        .effects = slice_of(in + ENTRY_HEAD + reply, len - ENTRY_HEAD - reply),
        .bytes = slice_of(in, len),
    };
    return len;
}

size_t entry_peek(const char *in, uint64_t *version)
{
    *version = get_le64(in + AT_VERSION);
    return get_le32(in + AT_LENGTH);
}

/* Just so many effects, each whole, and nothing behind them. */
static bool effects_are_whole(struct slice in, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (in.len < EFFECT_HEAD) {
            return false;
        }
        uint32_t argc = get_le32(in.ptr);
        if (argc == 0 || argc > ENTRY_ARGC_MAX || get_le16(in.ptr + 6) != 0) {
            return false;
        }
        in = slice_of(in.ptr + EFFECT_HEAD, in.len - EFFECT_HEAD);
        for (uint32_t j = 0; j < argc; j++) {
            if (in.len < EFFECT_ARG) {
                return false;
            }
            size_t len = get_le32(in.ptr);
            if (len > in.len - EFFECT_ARG) {
                return false;
            }
            in = slice_of(in.ptr + EFFECT_ARG + len, in.len - EFFECT_ARG - len);
        }
    }
    return in.len == 0;
}

int64_t entry_read(struct slice in, struct entry *out)
{
    if (in.len < ENTRY_HEAD) {
        return 0;
    }
    size_t len = get_le32(in.ptr + AT_LENGTH);
    size_t reply = get_le16(in.ptr + AT_REPLY);
    if (len > ENTRY_LEN_MAX || reply > ENTRY_REPLY_MAX || len < ENTRY_HEAD + reply ||
        get_le16(in.ptr + AT_SHARD) >= ENTRY_SHARDS_MAX || get_le16(in.ptr + AT_ZERO) != 0 ||
        (get_le16(in.ptr + AT_FLAGS) & ~FLAGS_KNOWN) != 0 || get_le64(in.ptr + AT_TERM) == 0 ||
        get_le64(in.ptr + AT_VERSION) == 0) {
        return -1;
    }
    if (len > in.len) {
        return 0;
    }
    entry_read_trusted(in.ptr, out);
    bool bare = (out->flags & (ENTRY_STRIPPED | ENTRY_LANE_END)) != 0;
    bool ends = (out->flags & ENTRY_LANE_END) != 0;
    if ((bare && out->n_effects != 0) || ends != (out->number == ENTRY_NUMBER_END) ||
        !effects_are_whole(out->effects, out->n_effects)) {
        return -1;
    }
    return (int64_t)len;
}

void effects_begin(struct str *to, int db, uint32_t argc)
{
    char *at = str_reserve(to, EFFECT_HEAD);
    put_le32(at, argc);
    put_le16(at + 4, (uint16_t)db);
    put_le16(at + 6, 0);
    to->len += EFFECT_HEAD;
}

void effects_arg(struct str *to, struct slice arg)
{
    char *at = str_reserve(to, EFFECT_ARG + arg.len);
    put_le32(at, (uint32_t)arg.len);
    if (arg.len != 0) {
        memcpy(at + EFFECT_ARG, arg.ptr, arg.len);
    }
    to->len += EFFECT_ARG + arg.len;
}

void effects_add(struct str *to, int db, const struct slice *argv, size_t argc)
{
    size_t len = EFFECT_HEAD + argc * EFFECT_ARG;
    for (size_t i = 0; i < argc; i++) {
        len += argv[i].len;
    }
    char *at = str_reserve(to, len);
    put_le32(at, (uint32_t)argc);
    put_le16(at + 4, (uint16_t)db);
    put_le16(at + 6, 0);
    at += EFFECT_HEAD;
    for (size_t i = 0; i < argc; i++) {
        put_le32(at, (uint32_t)argv[i].len);
        if (argv[i].len != 0) {
            memcpy(at + EFFECT_ARG, argv[i].ptr, argv[i].len);
        }
        at += EFFECT_ARG + argv[i].len;
    }
    to->len += len;
}

bool effects_next(struct effects *it, struct effect *out)
{
    if (it->left.len == 0) {
        return false;
    }
    const char *at = it->left.ptr;
    out->argc = get_le32(at);
    out->db = get_le16(at + 4);
    const char *args = at + EFFECT_HEAD;
    const char *end = args;
    for (uint32_t i = 0; i < out->argc; i++) {
        end += EFFECT_ARG + get_le32(end);
    }
    out->args = slice_of(args, (size_t)(end - args));
    it->left = slice_of(end, it->left.len - (size_t)(end - at));
    return true;
}

void effect_args(const struct effect *e, struct slice *argv)
{
    const char *at = e->args.ptr;
    for (uint32_t i = 0; i < e->argc; i++) {
        size_t len = get_le32(at);
        argv[i] = slice_of(at + EFFECT_ARG, len);
        at += EFFECT_ARG + len;
    }
}
