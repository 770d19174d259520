// SPDX-License-Identifier: BSD-3-Clause
/* The loop's insides, for its siblings in common/io. */
#pragma once

#include "common/io/loop.h"

#include <ev.h>

/* Chunks into which streams read while they hold no bytes of their own. The first is filled from
 * its end on while slices of it are referenced, and rewound when nobody refers to it any more; when
 * it is used up it rests until its references are gone. So a request held for a moment costs no
 * copy and no allocation. */
#define LOOP_SCRATCH_BYTES (256 * 1024)
#define LOOP_SCRATCH_LEAST (64 * 1024) /* less room than this: take another one */
#define LOOP_SCRATCH_COUNT 8

/* libev calls back in the reverse of the order in which descriptors became ready. Streams gather
 * here in the right one, and are read when all have been named: what one client sent before another
 * did comes before it. */
struct readable {
    struct list link;
    void (*read)(struct readable *r);
};

struct loop {
    uint32_t magic;
    bool stopping;
    bool in_turn;
    bool meanwhile; /* in loop_meanwhile */
    struct ev_loop *ev;
    int64_t now_us;
    int64_t wall_ms;
    int64_t took_us; /* the last turn, without its wait */
    int64_t took_us_max;
    int64_t took_cpu_us;
    int64_t cpu_from_us;
    bool measures_cpu;
    uint64_t turns;
    uint64_t reads; /* of streams, with bytes */
    int64_t gather_us;
    int64_t period;       /* the millisecond (of 1024 us) in which `active` is counted */
    uint32_t active;      /* streams that had bytes in it */
    uint32_t active_last; /* the same of the one before */
    bool slack_set;       /* sleeps of this thread are exact to a microsecond or so */
    ev_check after_wait;
    struct list readable; /* struct readable: streams that have something to be read */
    struct list tasks;
    struct list hooks;
    struct names *names;                       /* NULL: no name was asked for yet (names.h) */
    struct chunk *scratch[LOOP_SCRATCH_COUNT]; /* [0] is in use; each holds one reference */
};

/* Lets go of look-ups under way. */
void names_end(struct loop *l);

static inline void loop_readable(struct loop *l, struct readable *r)
{
    if (list_empty(&r->link)) {
        list_prepend(&l->readable, &r->link);
    }
}

/* A stream has bytes; `period` is where it keeps when that was last so. */
static inline void loop_note_read(struct loop *l, int64_t *period)
{
    int64_t now = l->now_us >> 10;
    l->reads++;
    if (now != l->period) {
        l->active_last = now == l->period + 1 ? l->active : 0;
        l->active = 0;
        l->period = now;
    }
    l->active += *period != now;
    *period = now;
}

/* A chunk with at least LOOP_SCRATCH_LEAST bytes behind its len; the caller takes a reference, and
 * until it drops it no other stream reads. */
struct chunk *loop_scratch(struct loop *l);
