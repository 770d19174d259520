// SPDX-License-Identifier: BSD-3-Clause
/* The id of a stream's entry: milliseconds since 1970, and a number among those of one millisecond.
 * As text "1700000000000-0". Pure. */
#pragma once

#include "common/base/num.h"

#include <endian.h>

struct stream_id {
    uint64_t ms;
    uint64_t seq;
};

#define STREAM_ID_MIN  ((struct stream_id){0, 0})
#define STREAM_ID_MAX  ((struct stream_id){UINT64_MAX, UINT64_MAX})
#define STREAM_ID_TEXT (2 * NUM_I64_MAX_LEN)

static inline int stream_id_compare(struct stream_id a, struct stream_id b)
{
    return a.ms != b.ms ? (a.ms < b.ms ? -1 : 1) : a.seq != b.seq ? (a.seq < b.seq ? -1 : 1) : 0;
}

static inline bool stream_id_less(struct stream_id a, struct stream_id b)
{
    return a.ms != b.ms ? a.ms < b.ms : a.seq < b.seq;
}

static inline bool stream_id_equal(struct stream_id a, struct stream_id b)
{
    return a.ms == b.ms && a.seq == b.seq;
}

static inline bool stream_id_is_zero(struct stream_id id)
{
    return (id.ms | id.seq) == 0;
}

/* The one after it, before it. False: there is none. */
static inline bool stream_id_increment(struct stream_id *id)
{
    if (id->seq == UINT64_MAX && id->ms == UINT64_MAX) {
        return false;
    }
    id->seq++;
    id->ms += id->seq == 0;
    return true;
}

static inline bool stream_id_decrement(struct stream_id *id)
{
    if (id->seq == 0 && id->ms == 0) {
        return false;
    }
    id->ms -= id->seq == 0;
    id->seq--;
    return true;
}

static inline size_t stream_id_print(char to[STREAM_ID_TEXT], struct stream_id id)
{
    size_t n = num_print_u64(to, id.ms);
    to[n++] = '-';
    return n + num_print_u64(to + n, id.seq);
}

/* 16 bytes, big-endian: what files have. */
static inline struct stream_id stream_id_load(const void *from)
{
    struct stream_id id;
    memcpy(&id, from, sizeof(id));
    return (struct stream_id){be64toh(id.ms), be64toh(id.seq)};
}

static inline void stream_id_store(void *to, struct stream_id id)
{
    struct stream_id be = {htobe64(id.ms), htobe64(id.seq)};
    memcpy(to, &be, sizeof(be));
}
