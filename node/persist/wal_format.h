// SPDX-License-Identifier: BSD-3-Clause
/* The bytes of the log's files, for its writer and its reader. Everything is little-endian.
 *
 *   log.<seq, 16 hex digits>
 *     header   magic 8 | u32 format | u32 n_shards | u64 seq | u64 start | u64 nonce | u64 wall ms
 * | u64 sum record   u64 sum | u32 len | u16 kind | u16 shard | u64 term | u64 version | len bytes
 *     record...
 *
 * A position counts the bytes of records from the very first one on, over all files; `start` is the
 * position of a file's first record. A sum is XXH3 of what follows it (in the header: of what is
 * before it); a record's is seeded with the file's nonce and its own position, so that bytes of
 * another file, or of this one in another place, are never taken for a record. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/obj.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define WAL_MAGIC        "SHOALLOG"
#define WAL_FORMAT       1
#define WAL_HEADER_BYTES 56
#define WAL_RECORD_BYTES 32
#define WAL_HEADER_SEED  UINT64_C(0x53484f414c4c4f47)
#define WAL_NAME_MAX     32
#define WAL_FIRST        1 /* position of the very first record: 0 is none */

enum wal_kind {
    /* A log entry of a shard, whole, as node/log encodes it. */
    WAL_ENTRY = 1,
    /* The shard's content and log so far are void: it begins anew, with its first entry, or with a
     * copy that is known only by a snapshot taken behind this place. */
    WAL_RESET = 2,
    /* u64: all before this position was on disk when this was written. A hole before it is damage,
     * not a tail torn off by a crash. So does the position of a snapshot. */
    WAL_MARK = 3,
    /* u64 policy (enum wal_policy): the first record of each file, as earlier ones may be gone, and
     * where the policy changes. */
    WAL_POLICY = 4,
    /* The process ended in order, nothing comes after it in its file. */
    WAL_END = 5,
    /* What snapshots there are: for each a u16 shard, u64 position. First in each file. Whoever
     * finds a snapshot missing that the last one of these names, and no WAL_RESET of its shard
     * behind it, knows that it was lost. */
    WAL_SHARDS = 6,
    /* One more of these, of `shard`. */
    WAL_SNAPSHOT = 7,
    /* The machine's clock: u64 which boot of it, u64 monotonic us. See tails.h. */
    WAL_CLOCK = 8,
    WAL_KINDS,
};

struct wal_header {
    uint32_t n_shards;
    uint64_t seq;
    uint64_t start;
    uint64_t nonce;
    uint64_t wall_ms;
};

static inline void wal_encode_header(char to[WAL_HEADER_BYTES], const struct wal_header *h)
{
    memcpy(to, WAL_MAGIC, 8);
    put_le32(to + 8, WAL_FORMAT);
    put_le32(to + 12, h->n_shards);
    put_le64(to + 16, h->seq);
    put_le64(to + 24, h->start);
    put_le64(to + 32, h->nonce);
    put_le64(to + 40, h->wall_ms);
    put_le64(to + 48, hash_bytes(to, 48, WAL_HEADER_SEED));
}

static inline bool wal_decode_header(const char from[WAL_HEADER_BYTES], struct wal_header *h)
{
    h->n_shards = get_le32(from + 12);
    h->seq = get_le64(from + 16);
    h->start = get_le64(from + 24);
    h->nonce = get_le64(from + 32);
    h->wall_ms = get_le64(from + 40);
    return memcmp(from, WAL_MAGIC, 8) == 0 && get_le32(from + 8) == WAL_FORMAT &&
           get_le64(from + 48) == hash_bytes(from, 48, WAL_HEADER_SEED);
}

static inline uint64_t wal_record_seed(uint64_t nonce, uint64_t position)
{
    return nonce + position * UINT64_C(0x9E3779B97F4A7C15);
}

static inline void wal_file_name(char to[WAL_NAME_MAX], uint64_t seq)
{
    snprintf(to, WAL_NAME_MAX, "log.%016llx", (unsigned long long)seq);
}

/* False: that is no file of the log. */
static inline bool wal_parse_name(const char *name, uint64_t *seq)
{
    unsigned long long v;
    int used = 0;
    if (strlen(name) != 20 || sscanf(name, "log.%16llx%n", &v, &used) != 1 || used != 20) {
        return false;
    }
    char again[WAL_NAME_MAX];
    wal_file_name(again, v);
    *seq = v;
    return strcmp(again, name) == 0;
}
