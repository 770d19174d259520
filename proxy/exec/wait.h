// SPDX-License-Identifier: BSD-3-Clause
/* Commands that wait for data: BLPOP and its kin, XREAD BLOCK. They join the lane of their shard's
 * primary like any other command, as SHOAL PARK <command>: so they cost one round trip where there
 * is data, and stand in the order in which their worker read them, whichever client they came from.
 * If there is none the node says +PARKED at once, goes on with what stands behind them, and pushes
 * the answer when it has one; thousands of clients that wait need no connections of their own.
 *
 *   asked --answer--> over
 *     |  ^
 *   +PARKED  its lane broke, its shard moved: what became of it is found out (exec/fate.c), and it
 *     v  |   is sent again with the time that is left
 *   parked --push, time over, UNBLOCK--> over
 *
 * Keys of several shards: SHOAL READY <command> for the keys of one shard takes what is there, or
 * waits for a notice. The shards are asked in the order of the keys until one has something; after
 * a notice its shard is asked again. One is asked at a time, so nothing is ever taken twice. XREAD
 * takes nothing: it is parked at all of them. XREADGROUP takes from all that have something, once
 * all have said that they will give (wait_reads.c).
 *
 * Nothing behind such a command of the same client is read until it is over. A client that goes is
 * taken off the node's list; what had been taken for it by then is lost, as with Redis, and
 * counted. */
#pragma once

#include "common/base/list.h"
#include "common/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct chunk;
struct lane;
struct request;
struct wait;

/* One that waits at a lane's node. */
struct parked {
    uint64_t number;   /* the lane's, of its command */
    struct wait *wait; /* NULL: over */
    uint32_t leg;      /* of which of its shards */
    int64_t astray_us; /* since when another node should have it; 0: not */
};

/* Keys of several shards: those next to each other of the same one. */
struct wait_leg {
    int shard;
    uint32_t first; /* of the keys, in argv */
    uint32_t n;
    struct lane *lane; /* parked there; NULL: to be asked */
    uint64_t number;
    bool waited; /* it was parked before: what it finds now is no mistake of its words */
    /* XREAD, XREADGROUP */
    struct chunk *words;       /* its streams' */
    struct chunk *reply_chunk; /* what was there; NULL: nothing */
    const char *reply;
    size_t reply_len;
    bool answered; /* not to be asked any more */
};

struct wait {
    struct list link; /* exec's waits */
    struct request *request;
    int64_t until_us;    /* by its own words; INT64_MAX: for ever */
    uint32_t time_arg;   /* where in argv; 0: nowhere */
    bool in_ms;          /* it is in milliseconds */
    bool sent;           /* before: its words may tell a time that has passed by now */
    bool blocked;        /* counted among those that wait */
    bool asking;         /* several shards: one is being asked */
    bool reads;          /* XREAD or XREADGROUP over several shards */
    bool of_group;       /* ... the latter */
    bool found;          /* ... and one of them has something */
    bool stop;           /* if it has nothing (CLIENT UNBLOCK; several shards: its time is over), */
    bool stop_error;     /* ... it ends with an error, not with nil */
    struct lane *lane;   /* one shard: parked there */
    uint32_t asked;      /* leg, while asking */
    uint32_t willing;    /* XREADGROUP: so many have nothing against it */
    struct chunk *words; /* several shards: the command as it came */
    uint32_t key_first;
    uint32_t key_count;
    uint32_t n_legs;
    struct wait_leg *legs;
};

/* Where the time stands in a command that may wait; 0: it does not wait. */
uint32_t wait_time_arg(const struct slice *argv, size_t argc, int command_id, bool *in_ms);
