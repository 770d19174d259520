// SPDX-License-Identifier: BSD-3-Clause
/* A simulated node, shared by nodes.c (process, links), node_disk.c (what survives it) and
 * node_lanes.c (commands). It stands for node/link, node/agent and node/serve around the real
 * node/repl. */
#pragma once

#include "node/repl/frame.h"

#include "common/wire/wire.h"

#include "tests/sim/sim.h"

struct shard_data {
    bool held;
    bool whole;
    uint64_t last_term; /* of the log's last entry */
    uint64_t last_version;
    uint64_t digest;                 /* of the cells */
    struct cell cells[SIM_KEYS + 1]; /* the last one is SIM_HIDDEN */
};

void cells_clear(struct shard_data *d);
void cells_copy(struct shard_data *to, const struct shard_data *from);
/* To the hidden one. */
void cell_copy(struct shard_data *d, int from);
/* Sets a cell; bytes NULL: removes it. Keeps the digest. */
void cell_set(struct shard_data *d, int key, struct slice bytes, bool there);
void cell_append(struct shard_data *d, int key, struct slice piece);
/* Runs the effects of an entry. */
void cells_apply(struct shard_data *d, const struct entry *e);
static inline uint64_t key_hash(int key)
{
    return key == SIM_HIDDEN ? 5 : ((uint64_t)key + 1) * 0x1000000000000000ull / 16 + 77;
}

/* --- the disk: what was written since the last full picture, of which a part is synced --- */

enum disk_kind { DISK_ENTRY, DISK_DISCARD, DISK_WHOLE };

struct disk_shard {
    struct shard_data data;
    struct history history;
};

struct disk_record {
    enum disk_kind kind;
    int shard;
    uint64_t version;
    struct str bytes;         /* ENTRY: encoded */
    struct disk_shard *state; /* WHOLE */
};

struct sim_disk {
    struct disk_shard base[SIM_SHARDS];
    struct disk_record *records;
    size_t count;
    size_t cap;
    size_t written;    /* of the records: safe from the end of the process */
    size_t synced;     /* safe from the end of the machine */
    size_t told;       /* of those that are synced: to the core */
    size_t syncing;    /* a sync is on its way for these; 0: none */
    int64_t sync_us;   /* what it takes, about */
    int64_t synced_us; /* local time of the last one */
};

void disk_fini(struct sim_disk *d);
struct disk_record *disk_add(struct sim_disk *d, enum disk_kind kind, int shard);
/* What counts is cut down to `keep` records and becomes the picture. */
void disk_recover(struct sim_disk *d, size_t keep);
/* Folds what is synced into the picture when it has become long. */
void disk_fold(struct sim_disk *d);

/* --- the process --- */

struct peer_link {
    struct net_end *end; /* NULL: none */
    bool up;             /* HELLOs were exchanged */
    bool ours;           /* to be connected by us */
    bool cut;            /* what it sent makes no sense */
    int peer;
    struct str out;
    int64_t retry_us;
    int64_t busy_us; /* what was written leaves then */
};

struct held_reply {
    struct list link;
    int shard;
    uint64_t barrier; /* 0: none */
    bool write;
    struct str bytes;
};

struct session {
    struct list link;
    struct net_end *end;
    uint64_t lane; /* 0: not named yet */
    uint64_t count;
    struct list replies; /* struct held_reply, in order */
    struct str out;
    bool ended;
};

struct sim_node {
    struct sim *sim;
    int index;
    struct host *host;
    char id[NODE_ID_LEN + 1];
    uint64_t incarnation;
    uint64_t lives;
    struct sim_disk disk;
    /* of the process */
    bool up;
    struct repl *repl;
    struct repl_frame_room room;
    struct repl_settings settings;
    struct map *map;
    char cluster_id[NODE_ID_LEN + 1];
    struct shard_data shards[SIM_SHARDS];
    uint64_t durable[SIM_SHARDS]; /* told to the core */
    uint64_t committed[SIM_SHARDS];
    struct peer_link links[SIM_NODES];
    struct net_end *coordinator;
    bool registered;
    int64_t coordinator_retry_us;
    int64_t heartbeat_us; /* next */
    int64_t heartbeat_interval_us;
    struct wire_changes reports;
    struct list sessions;
    uint64_t *ended_lanes;
    size_t n_ended;
    int unlinked;                   /* of the links that are ours */
    bool more;                      /* the core wants another turn at once */
    struct sim_portrait *portraits; /* that go out from here */
    size_t n_portraits;
    struct sim_draft *drafts; /* that come in */
    size_t n_drafts;
};

/* --- node_copies.c: what repl_env asks of copies --- */
bool copies_time(void *arg);
void copies_begins(void *arg, int shard);
void copies_scan(void *arg, int shard, struct repl_place from, size_t budget,
                 struct repl_copied *out);
void copies_key(void *arg, int shard, struct repl_place at, struct slice key,
                struct repl_copied *out);
bool copies_part(void *arg, uint32_t handle, size_t budget, struct slice *part);
void copies_part_end(void *arg, uint32_t handle);
bool copies_put(void *arg, int shard, struct slice keys);
bool copies_open(void *arg, int shard, uint64_t number, struct slice head);
bool copies_add(void *arg, int shard, uint64_t number, struct slice part);
bool copies_close(void *arg, int shard, uint64_t number);
void copies_discard(struct sim_node *n, int shard);
void copies_fini(struct sim_node *n);

/* --- node_lanes.c --- */
bool lanes_accepted(struct sim_node *n, struct net_end *end);
void lanes_message(struct sim_node *n, struct session *s, const char *data, size_t len);
void lanes_closed(struct sim_node *n, struct session *s);
/* Nothing of it runs here any more. */
void lanes_end(struct sim_node *n, uint64_t lane);
void lanes_state(struct sim_node *n, int shard, enum repl_state was, enum repl_state now);
/* Releases what is committed; at the end of a turn. */
void lanes_flush(struct sim_node *n);
void lanes_free(struct sim_node *n);

void wire_send(struct net *net, struct net_end *end, const struct wire_message *m);
/* False: not decodable, which is a failure of the run. */
bool wire_receive(struct sim *s, const char *data, size_t len, struct wire_message *m);
