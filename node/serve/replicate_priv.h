// SPDX-License-Identifier: BSD-3-Clause
/* Shared by replicate*.c only. */
#pragma once

#include "node/cmd/apply.h"
#include "node/keyspace/copy.h"
#include "node/link/link.h"
#include "node/repl/frame.h"
#include "node/serve/replicate.h"
#include "node/serve/server.h"

struct made {
    int shard;
    uint64_t version; /* that must be committed; 0: none */
};

/* What the core said of a shard in this batch. */
struct said {
    uint64_t batch;
    uint8_t read; /* enum repl_answer */
    uint8_t write;
};

/* A copy that runs from here: how far it is, and its guard in the keyspace. */
struct copying;

struct sitter {
    struct portrait *portrait; /* NULL: the place is free */
    int shard;
};
struct sitting {
    int shard;
    uint64_t number;
    int db;
    struct draft *draft;
};

/* How much of the loop's time copies get: a slice a turn, and while there is other work a rest
 * behind it that is several times as long as it took. By the clock: where others want this
 * processor, too, it takes longer, and so does the rest. */
struct pace {
    int64_t spent_us;      /* in this turn */
    int64_t rest_until_us; /* none before */
    uint64_t work;         /* commands and entries so far, as last seen */
    int64_t work_us;       /* when it was seen to have grown */
};

struct replication {
    struct repl *core;
    struct loop_timer tick;
    struct loop_timer more; /* another turn at once */
    struct link **links;    /* by peer; NULL: down */
    int n_links;
    bool frozen;   /* replies wait until it is known whether leases went on */
    size_t unsent; /* bytes of entries made since the last turn's end */
    bool was_full; /* a link's output was when the core asked */
    uint64_t batch;
    int64_t now_us; /* of the batch */
    struct said *said;
    struct made *made; /* what the reply of the command under way waits for */
    uint32_t n_made;
    uint32_t made_cap;
    int *exec_shards; /* of the EXEC under way */
    uint32_t n_exec_shards;
    uint64_t *exec_seen; /* by shard: batch-unique mark */
    uint64_t exec_mark;
    struct str frame;
    struct repl_frame_room room;
    struct slice ahead; /* of what came by a link: frames that the applier has not looked at */
    struct repl_frame_room ahead_room;
    struct applier applier;
    struct list kept; /* what came while a slow script ran, in its order */
    size_t kept_bytes;
    struct copying *copies; /* by shard */
    struct copied copied;
    struct repl_portrait *given; /* those of `copied` */
    size_t cap_given;
    struct sitter *sitters; /* portraits that go out; their handles are the places here */
    uint32_t n_sitters;
    struct str part;
    struct sitting *sittings; /* portraits that come in */
    size_t n_sittings;
    size_t cap_sittings;
    int running_copies;
    struct pace pace;
    bool copied_last; /* a copy ran in the turn before */
    struct replicate_stats stats;
};

int64_t replicate_now(struct replication *r);

/* A frame of that node came, by the link, which is NULL if it is down by now. False: it makes no
 * sense. */
bool replicate_frame(struct server *s, struct link *l, int peer, struct slice frame);
/* meanwhile: true: it is kept until the slow script is over */
bool replicate_keeps(struct server *s, struct link *l, struct slice frame);
bool replicate_keeps_end(struct server *s, int peer);
void replicate_forget_kept(struct replication *r);

/* copies */
void copies_init(struct server *s);
void copies_fini(struct server *s);
void copies_settle(struct server *s);
/* A turn ends: what the next one may do. */
void copies_turn(struct server *s);
/* Until copies may go on. */
int64_t copies_rest_ms(const struct server *s);
bool copies_time(void *arg);
void copies_begins(void *arg, int shard);
void copies_scan(void *arg, int shard, struct repl_place from, size_t budget,
                 struct repl_copied *out);
void copies_key(void *arg, int shard, struct repl_place at, struct slice key,
                struct repl_copied *out);
bool copies_part(void *arg, uint32_t handle, size_t budget, struct slice *part);
void copies_part_end(void *arg, uint32_t handle);
/* Of the copy of that shard that runs: bytes sent, and about how many are left. */
void copies_progress(const struct server *s, int shard, uint64_t *done, uint64_t *left);
bool copies_put(void *arg, int shard, struct slice keys);
bool copies_open(void *arg, int shard, uint64_t number, struct slice head);
bool copies_add(void *arg, int shard, uint64_t number, struct slice part);
bool copies_close(void *arg, int shard, uint64_t number);
/* What was begun of that shard. */
void copies_discard(struct server *s, int shard);
