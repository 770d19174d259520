// SPDX-License-Identifier: BSD-3-Clause
/* What the replication core asks of the world: implemented over streams and the keyspace by the
 * node (link, serve), over a model by the simulator. All functions are set. None of them may call
 * back into the core, but for the queries of repl.h and where it says so. */
#pragma once

#include "node/log/entry.h"
#include "node/repl/message.h"

enum repl_report { REPL_ADD, REPL_REMOVE, REPL_HANDED, REPL_HOLLOW, REPL_WHOLE };

enum repl_state {
    REPL_NONE,        /* not a member */
    REPL_DEFER,       /* knows a newer primary term, but a promise given before still stands */
    REPL_RECOVER,     /* primary; gathers promises and logs */
    REPL_SERVE,       /* primary */
    REPL_FENCED,      /* primary, handing over: takes no new commands */
    REPL_RESIGNED,    /* was primary in this term; waits for the map */
    REPL_MEMBER_JOIN, /* replica; waits for what the primary says */
    REPL_COPY,        /* replica; its data is being replaced */
    REPL_FOLLOW,      /* replica */
    REPL_STATES
};

/* Where a key stands in a full copy: copies go up in (db, hash). */
struct repl_place {
    int db;
    uint64_t hash; /* full 64 bits, of keyspace_probe */
};

/* A key whose value is too large for one slice, as it is at this moment, however it changes from
 * now on: copy_part gives it bit by bit. */
struct repl_portrait {
    uint32_t handle;
    struct slice head; /* what it is of */
};

/* What copy_scan or copy_key gave. All slices are borrowed until the next copy_* call. */
struct repl_copied {
    struct repl_place next;                /* scan: all keys below this place have been given */
    bool end;                              /* scan: there are no more */
    uint64_t keys;                         /* in this slice */
    struct slice bytes;                    /* the keys, encoded: (db, key, expiry, value)... */
    const struct repl_portrait *portraits; /* and those that are given as portraits */
    size_t n_portraits;
};

struct repl_env {
    void *arg;

    /* -- links -------------------------------------------------------------------------------- */

    /* In order, behind what was sent before; may be dropped if the link is down or goes down
     * (then repl_peer_down follows). Everything of a turn leaves in one write. */
    void (*send)(void *arg, int peer, const struct repl_message *m);
    /* Bytes that wait to be written to that peer. */
    size_t (*queued)(void *arg, int peer);
    /* What it sent makes no sense: end the session (repl_peer_down follows, not from inside). */
    void (*cut)(void *arg, int peer);

    /* -- the log ------------------------------------------------------------------------------ */

    /* A new entry is in the log: e->bytes is to go to the write-ahead log. On primary (from within
     * repl_append) and replica (before `apply`). */
    void (*logged)(void *arg, const struct entry *e);
    /* On a replica, and on a primary that RECOVERs: run the effects, at e->time_ms, as they are: no
     * expiry, no eviction of its own.
     * Calls repl_touch for every key (repl_touch_all for FLUSHALL, FLUSHDB and SWAPDB). */
    void (*apply)(void *arg, const struct entry *e);
    /* The lane has ended, as an entry says that came into this node's log, or to its copy of one:
     * its connection, if it is here, is to end, and nothing of it is to run here any more. */
    void (*lane_ended)(void *arg, uint64_t lane);
    /* The commit version grew: release what waited for it. Primary and replica. May call
     * repl_append (a command that had been held may run now), and all queries. */
    void (*committed)(void *arg, int shard, uint64_t version);

    /* -- the shard ---------------------------------------------------------------------------- */

    /* From state to state. Leaving SERVE or FENCED for another: replies to writes that still wait
     * can only be resolved by the next primary: their lanes are to be ended (the proxy asks FATE);
     * reads that wait answer -TRYAGAIN. Leaving FOLLOW: reads that wait answer -TRYAGAIN. */
    void (*state)(void *arg, int shard, enum repl_state was, enum repl_state now);
    /* Drop all data of the shard, here and on disk; it is held, empty and not whole from now on:
     * not read, not persisted as anything (until `whole`). */
    void (*discard)(void *arg, int shard);
    /* The data is the log's state at h->version: a full copy came to its end, or broke off and left
     * the empty state (version 0). Under `always` it is durable only when repl_durable says so. */
    void (*whole)(void *arg, int shard, const struct history *h);

    /* Whether copies, from here or to here, may do more in this turn. Asked before each piece of
     * work on one, all of which are small: the answer keeps turns short, and copies from taking
     * what those who are served need. After a no there is another turn when there may be a yes. */
    bool (*copy_time)(void *arg);

    /* -- full copies: source ------------------------------------------------------------------ */

    /* A copy of the shard is of this moment on: from now until no copy runs each write is told
     * before it is made (repl_before_write), though the first keys may be asked for much later. */
    void (*copy_begins)(void *arg, int shard);
    /* Encodes keys from `from` on, in order, about `budget` bytes; at least one place further,
     * unless at the end. */
    void (*copy_scan)(void *arg, int shard, struct repl_place from, size_t budget,
                      struct repl_copied *out);
    /* Encodes one key as it is now; nothing: it is not there. */
    void (*copy_key)(void *arg, int shard, struct repl_place at, struct slice key,
                     struct repl_copied *out);
    /* About `budget` bytes more of a portrait. False: these are the last. */
    bool (*copy_part)(void *arg, uint32_t handle, size_t budget, struct slice *part);
    /* It was given as a whole, or is not wanted any more. */
    void (*copy_part_end)(void *arg, uint32_t handle);

    /* -- full copies: target ------------------------------------------------------------------ */

    /* Replaces these keys. False: not decodable; the copy breaks off. */
    bool (*copy_put)(void *arg, int shard, struct slice keys);
    /* A portrait of that number begins; a part of it; all of it is there: it replaces its key. What
     * was begun and not closed goes with `discard`. False as above. */
    bool (*copy_open)(void *arg, int shard, uint64_t number, struct slice head);
    bool (*copy_add)(void *arg, int shard, uint64_t number, struct slice part);
    bool (*copy_close)(void *arg, int shard, uint64_t number);

    /* -- the coordinator ---------------------------------------------------------------------- */

    /* Repeated until a map answers it. `term` is the shard's, of the map; of HANDED, HOLLOW and
     * WHOLE the primary term. `node`: whom it is about; of HANDED the one that it was handed to.
     */
    void (*report)(void *arg, enum repl_report what, int shard, uint64_t term, const char *node);
};
