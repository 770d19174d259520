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

struct loop {
    uint32_t magic;
    bool stopping;
    bool in_turn;
    struct ev_loop *ev;
    int64_t now_us;
    int64_t wall_ms;
    uint64_t turns;
    ev_check after_wait;
    struct list tasks;
    struct list hooks;
    struct chunk *scratch[LOOP_SCRATCH_COUNT]; /* [0] is in use; each holds one reference */
};

/* A chunk with at least LOOP_SCRATCH_LEAST bytes behind its len; the caller takes a reference, and
 * until it drops it no other stream reads. */
struct chunk *loop_scratch(struct loop *l);
