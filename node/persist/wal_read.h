// SPDX-License-Identifier: BSD-3-Clause
/* The log of writes, read at start: every whole record in order, a torn tail cut off, damage told.
 *
 * The first record that is not whole is the torn tail of a crash, unless something behind it says
 * that it had been on disk (WAL_MARK, or a snapshot): then the log is damaged there. The reader
 * goes on with the next file and tells of the hole; whether a shard needed what is missing is the
 * caller's to know (it did not if its snapshot was taken behind the hole).
 *
 * Pure. Hostile bytes are refused or read, nothing is allocated that a file only claims to hold. */
#pragma once

#include "node/persist/wal.h"

#include "common/base/err.h"

struct wal_record {
    enum wal_kind kind;
    uint32_t shard;
    uint64_t position; /* of its first byte */
    uint64_t end;
    uint64_t term;
    uint64_t version;
    struct slice bytes; /* during the call */
};

struct wal_visitor {
    void *arg;
    /* WAL_ENTRY, WAL_RESET, WAL_SHARDS, WAL_SNAPSHOT, WAL_CLOCK; in the order of their positions.
     */
    void (*record)(void *arg, const struct wal_record *r);
    /* What is between the position of the last record and `until` cannot be read; UINT64_MAX: to
     * the log's end. */
    void (*hole)(void *arg, uint64_t until);
    /* The log is known to have been on disk so far (a snapshot was taken there): a break before is
     * damage, not a torn tail. */
    uint64_t durable;
};

struct wal_found {
    struct wal_segment *segments;
    size_t n_segments;
    uint64_t start;
    uint64_t end;        /* where a new log goes on */
    uint64_t torn_bytes; /* cut off */
    uint64_t records;
    uint64_t holes;
    uint32_t n_shards; /* 0: no log there */
    bool orderly;      /* the last process ended in order */
    bool always;       /* it had `always` from its first record to its last */
    char damage[256];  /* the first one, in words; empty: none */
};

/* Records that end at or below `from` are not visited, and files that hold only such ones hardly
 * read. What is cut off is cut on disk too. 0, or an errno where the disk failed. */
int wal_read(struct disk *disk, uint64_t from, const struct wal_visitor *visitor,
             struct wal_found *found);
void wal_found_fini(struct wal_found *f);
