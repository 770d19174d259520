// SPDX-License-Identifier: BSD-3-Clause
/* One entry of a shard's log: what a client's command, or a transaction, did to that shard. The
 * same bytes stand in the backlog, on the wire between nodes and in the write-ahead log. Pure.
 *
 *   entry    u32 length (of all) | u16 shard | u16 flags | u64 term | u64 version | i64 time_ms
 *            | u64 lane | u64 number | u32 n_effects | u16 reply length | u16 0 | reply | effects
 *   effect   u32 argc | u16 db | u16 0 | argc times: u32 length, bytes
 *
 * Little-endian, no padding. `term` is the primary term in which it was written. Nothing here
 * checks sums: the link is TCP, the write-ahead log has checksums of its own. */
#pragma once

#include "common/base/str.h"

#define ENTRY_HEAD       56 /* bytes before the reply */
#define ENTRY_REPLY_MAX  80 /* a longer reply is not kept: ENTRY_REPLY_GONE */
#define ENTRY_LEN_MAX    (UINT32_C(1) << 31)
#define ENTRY_ARGC_MAX   (UINT32_C(1) << 28)
#define ENTRY_LANE_NONE  0 /* no lane: expiry, eviction, a client that is no proxy */
#define ENTRY_SHARDS_MAX 16384
#define ENTRY_NUMBER_END UINT64_MAX /* of an ENTRY_LANE_END: behind all numbers of the lane */

enum entry_flag {
    ENTRY_REPLY_GONE = 1, /* the reply was too long to be kept: its outcome cannot be told later */
    ENTRY_STRIPPED = 2,   /* effects were left out: it only tells the fate of a write (section 9) */
    ENTRY_LANE_END = 4,   /* its lane has ended: nothing of it comes behind this (section 9) */
};

struct entry {
    int shard;
    uint16_t flags;   /* of enum entry_flag */
    uint64_t term;    /* primary term */
    uint64_t version; /* from 1, no holes */
    int64_t time_ms;  /* primary's wall clock, at which the effects are to be applied */
    uint64_t lane;    /* ENTRY_LANE_NONE, or the lane of the command */
    uint64_t number;  /* its place in the lane */
    uint32_t n_effects;
    struct slice reply;   /* at most ENTRY_REPLY_MAX */
    struct slice effects; /* encoded, see effects_add */
    struct slice bytes;   /* when read: the whole of the encoded entry */
};

/* Bytes that entry_write will write. */
static inline size_t entry_size(const struct entry *e)
{
    return ENTRY_HEAD + e->reply.len + e->effects.len;
}
/* `to` has room for entry_size(). The lengths are within the limits above (INVARIANT). */
void entry_write(char *to, const struct entry *e);
/* Reads the first entry of `in`; slices borrow from it. Returns its length; 0: there is less than
 * one whole entry; -1: these bytes are no entry. All of it is checked, effects included. */
int64_t entry_read(struct slice in, struct entry *out) MUSTCHECK;
/* The same for bytes that were checked before (backlog): never fails. Returns the length. */
size_t entry_read_trusted(const char *in, struct entry *out);
/* Only the length and the version, of checked bytes. */
size_t entry_peek(const char *in, uint64_t *version);

/* Effects, encoded one behind the other. */
#define EFFECT_HEAD 8 /* argc, db */
#define EFFECT_ARG  4 /* before each argument */
void effects_add(struct str *to, int db, const struct slice *argv, size_t argc);
/* To build one argument by argument: begin with the number of arguments, then add each. */
void effects_begin(struct str *to, int db, uint32_t argc);
void effects_arg(struct str *to, struct slice arg);

/* Walks an entry's effects. */
struct effects {
    struct slice left;
};
struct effect {
    int db;
    uint32_t argc;
    struct slice args; /* encoded; see effect_args */
};
static inline struct effects effects_of(const struct entry *e)
{
    return (struct effects){.left = e->effects};
}
/* False at the end. */
bool effects_next(struct effects *it, struct effect *out);
/* Fills argv, which has room for effect->argc. */
void effect_args(const struct effect *e, struct slice *argv);
