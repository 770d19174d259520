// SPDX-License-Identifier: BSD-3-Clause
/* Shared by the files of the replication core alone.
 *
 *   repl.c     the core's life, settings, peers, maps; what comes in goes to the others
 *   shard.c    a shard's state, and what a map makes of it
 *   primary.c  members that join, acknowledge, are added and removed; commit; hand-over
 *   replica.c  joining, following, being copied to
 *   copy.c     full copies, at their source
 *   inbox.c    what came for a shard that is copied to, and is not taken yet
 *   lease.c    beacons and promises
 *   turn.c     what leaves at the end of a turn
 *   query.c    answers */
#pragma once

#include "node/repl/plant.h"
#include "node/repl/repl.h"

#include "common/base/hmap.h"

#define REPL_MAGIC      0x5245504cu
#define REPL_PEER_MAX   (MEMBERS_MAX * 2) /* of a shard: members, and former ones still covered */
#define TOUCH_SLOTS     256
#define TOUCH_SLOTS_FEW 16 /* of a node with very many shards */
#define SHARDS_MANY     2048
#define NEVER           INT64_MIN
#define TICK_US         5000 /* while something is not as it should be */
#define DEAF_TURNS      2
#define STALLS_MAX      8 /* in a row, behind which silence counts though we hardly run */
#define FENCE_US_MAX    200000
#define REOPEN_US       1000000
#define HANDED_US       200000 /* HANDED is repeated */
#define SAID_US         200000 /* and HOLLOW, and WHOLE */
#define HANDOVER_US_MAX 10000000
#define UNWANTED_US     3000000      /* not repeated for so long: it is wanted again */
#define COPY_SLICE      (128 * 1024) /* encoded in a turn, for all copies; and taken in one */
#define COPY_PIECE      (16 * 1024)  /* of it, at a time */
#define INBOX_MAX       ((size_t)512 << 20) /* a copy that has to keep more breaks off */
#define COPY_RETRY_US   500000
#define SENT_AHEAD_MAX  65536
#define REVOKE_LEFT     0    /* in place of a newer term: I am no member any more */
#define LANES_KEPT      1024 /* ended ones that a shard tells who gets a full copy of it */
#define WINDOW_MAX      (2 * 1024 * 1024) /* bytes of one WINDOW */
#define ENTRIES_MAX     (256 * 1024)      /* bytes of one ENTRIES message */

enum flow { FLOW_NONE, FLOW_COPY, FLOW_LOG };

/* A full copy that runs, at its source. */
struct copy {
    uint64_t number;
    struct repl_place at; /* keys below have been sent */
    bool scanned;
    uint64_t messages;
    /* Portraits that are being sent, the oldest first. */
    struct sending {
        uint64_t number;
        uint32_t handle;
    } * portraits;
    size_t n_portraits;
    size_t cap_portraits;
    uint64_t portrait_number; /* of the last */
    uint64_t sent;            /* bytes of keys and parts */
    uint64_t taken;           /* of these, as the replica says */
    /* Keys from `at` on that the replica has already: a hash set. */
    uint64_t *ahead;
    size_t ahead_cap; /* power of two */
    size_t ahead_count;
};

/* Another member of a shard, as its primary sees it. */
struct member {
    int peer;
    bool in_map;  /* of the shard, as recorded */
    bool in_sync; /* as recorded */
    bool in_set;  /* the commit set */
    bool joined;  /* its JOIN for this primary term came in this session */
    bool told;    /* COUNTED yes, not taken back */
    bool pulling; /* RECOVER: we asked it for what we lack */
    bool copy_wanted;
    enum flow flow;
    uint64_t join_number;
    uint64_t last_term; /* its log's end, as it joined */
    uint64_t last_version;
    uint64_t last_own; /* of it what it acknowledged by joining */
    bool bare;         /* its backlog goes back less far than ours */
    uint64_t sent;     /* entries handed to the link */
    uint64_t acked;
    uint64_t durable;
    uint64_t notice;      /* number of the last COUNTED */
    int64_t cover_us;     /* our promise to it stands until then; NEVER: none */
    uint64_t add_term;    /* of the shard, in our request; 0: none is open */
    uint64_t remove_term; /* the same */
    int64_t asked_us;
    int64_t joined_us;   /* when it joined, or ceased to be joined */
    int64_t progress_us; /* last acknowledgement that was news, or when all was acknowledged */
    uint64_t goal;       /* a round: once the log's end was here */
    int64_t goal_us;     /* at that time */
    int64_t round_us;    /* how long the last round took; INT64_MAX: none yet */
    int64_t copy_after_us;
    uint64_t since;      /* the shard's term in which it became a member, by the last map with it */
    int64_t unwanted_us; /* the coordinator wanted it to leave, last at this time */
    struct copy *copy;
};

/* A JOIN of a primary term that we do not know yet, or cannot take up yet. */
struct early {
    int peer;
    uint64_t term;
    struct repl_join join;
};

struct repl_shard {
    int shard;
    enum repl_state state;
    uint64_t term;     /* of the shard, in the map */
    uint64_t since;    /* the term in which we became a member */
    uint64_t pterm;    /* the primary term that we take part in */
    int primary;       /* peer; -1: nobody, or this node */
    bool self_primary; /* as the map says */
    bool nobody;       /* the map says that nobody is primary */
    bool whole;        /* the data is a state of the log */
    bool hollow;      /* what it had was dropped for a full copy, and none has become whole since */
    uint64_t revoked; /* a newer primary term that we only heard of */
    int64_t since_us; /* in this state */
    int64_t defer_us; /* promises to former primaries stand until then */
    int64_t defer_other_us; /* the same, without the one to promised_to */
    bool left;              /* promised_to was told that we left it: its promise grows no more */
    int64_t hold_us;        /* promises that we gave as primary in a former term */

    /* turn */
    bool dirty;         /* in repl.dirty */
    bool kicked;        /* in repl.kicked */
    bool trouble;       /* something is not as it should be: looked at every tick */
    int copies;         /* running */
    uint64_t read_turn; /* reads were found to be allowed in this turn */
    int64_t unsure_us; /* reads that ended then are to be confirmed by a later lease; NEVER: none */
    bool unsure_lost;  /* they will not be: the role, or being counted, was lost since */

    uint64_t commit;      /* as primary: decided; as replica: told, may be above the log's end */
    uint64_t commit_told; /* to env.committed */
    uint64_t commit_sent; /* to members */
    uint64_t durable;

    /* as primary */
    int n_members;
    int n_set;    /* in_set */
    int n_strong; /* in_set and neither leaving nor being removed: for min-in-sync */
    int handing;  /* peer; -1 */
    int64_t handing_us;
    int64_t handed_us; /* last told */
    bool doubted;      /* primary by guess, until we have said that we are whole */
    int64_t said_us;   /* the one or the other; NEVER: not in this primary term */

    /* as replica */
    int promised_to;        /* peer that our promises cover, or covered, this shard for; -1: none */
    uint64_t promised_term; /* the primary term that we joined under it */
    uint64_t join_number;
    int64_t join_us; /* sent; NEVER: not in this session */
    bool counted;
    uint64_t acked; /* told to the primary */
    uint64_t acked_durable;
    uint64_t copy; /* number of the one that runs */
    uint64_t copy_messages;
    uint64_t copy_bytes;
    struct inbox *inbox; /* NULL: nothing waits in it */
    bool bare;           /* the backlog begins with this process, or not long before */
    bool resigned;       /* the primary has resigned: joined again when it reopens */

    /* what was changed by what is not committed */
    uint64_t touching;  /* version of the entry being applied; 0: the next one */
    uint64_t touch_all; /* everything, by this version */
    uint64_t touch_mask;
    /* lanes that have ended, by their entries: a ring, the oldest at the front when it is full */
    uint64_t *lanes;
    uint32_t n_lanes;
    uint32_t at_lane;

    /* what is long */
    struct history history;
    struct member members[REPL_PEER_MAX];
    int n_early;
    struct early early[MEMBERS_MAX];
    uint64_t touch[];
};

struct peer {
    struct hmap_node node;
    int handle;
    char id[NODE_ID_LEN + 1];
    bool up;
    bool in_map;
    bool dead;                   /* as the map has it */
    uint64_t incarnation;        /* of this session */
    uint64_t incarnation_in_map; /* as the map has it */
    int64_t changed_us;          /* up or down since */
    int64_t beacon_us;           /* last asked */
    /* Promises. As member: to this peer as primary; as primary: to this peer as member. */
    int64_t given_member_us;
    int64_t given_primary_us;
    int64_t held_us; /* its promise as member stands, for us as primary, until then */
    int64_t read_us; /* its promise as primary: we may read until then */
    bool asked;      /* a BEACON waits for its PROMISE */
    struct repl_beacon beacon;
    /* of this turn */
    struct repl_mark *acks;
    size_t n_acks;
    size_t cap_acks;
    struct repl_mark *commits;
    size_t n_commits;
    size_t cap_commits;
};

struct indexes {
    int *items;
    size_t count;
    size_t cap;
};

struct repl {
    uint32_t magic;
    int n_shards;
    char id[NODE_ID_LEN + 1];
    struct repl_settings set;
    struct repl_env env;
    struct backlog *backlog;
    struct map *map;
    int self;       /* in the map, or NODE_NONE */
    int64_t now_us; /* the latest that we were told */
    bool new_node;
    bool trouble; /* a shard is in trouble */
    int64_t ticked_us;
    int deaf;   /* so many turns until what came while this node did not run has been taken */
    int stalls; /* in a row */
    int64_t started_us;
    int64_t beaconed_us;
    int64_t swept_us;
    uint64_t turn;          /* grows with each */
    int unsure;             /* shards with reads whose lease may have been over */
    int64_t reads_until_us; /* no read of this turn relied on a lease that ends before */
    uint64_t join_number;
    uint64_t notice_number;
    uint64_t copy_number;
    int64_t copy_left;  /* bytes that copies from here may still encode in this turn */
    int64_t take_left;  /* and those to here take */
    double copy_tokens; /* bytes */
    int64_t copy_tokens_us;
    int copies_queued; /* members with copy_wanted */
    int taking;        /* shards in COPY */
    struct repl_stats stats;
    struct hmap by_id;
    struct peer **peers;
    int n_peers;
    struct indexes held;        /* shards of which we are a member */
    struct indexes dirty;       /* have something to send */
    struct indexes kicked;      /* to be looked at before the turn ends */
    struct repl_shard **shards; /* by number; NULL: never held */
};

/* repl.c */
void indexes_add(struct indexes *l, int v);
static inline struct repl_shard *shard_of(const struct repl *r, int shard)
{
    return r->shards[shard];
}
static inline struct peer *peer_of(const struct repl *r, int peer)
{
    return r->peers[peer];
}
void repl_send(struct repl *r, int peer, const struct repl_message *m);
void repl_bad(struct repl *r, int peer, const char *why); /* cuts the session */
static inline void repl_dirty(struct repl *r, struct repl_shard *s)
{
    if (!s->dirty) {
        s->dirty = true;
        indexes_add(&r->dirty, s->shard);
    }
}
static inline void repl_kick(struct repl *r, struct repl_shard *s)
{
    if (!s->kicked) {
        s->kicked = true;
        indexes_add(&r->kicked, s->shard);
    }
}
static inline bool repl_leases(const struct repl *r)
{
    return r->set.mode == REPL_SYNC;
}
/* Until when a node that has just started takes part in nothing. */
int64_t repl_silent_until(const struct repl *r);

/* shard.c */
struct repl_shard *shard_make(struct repl *r, int shard);
void shard_move(struct repl *r, struct repl_shard *s, enum repl_state to);
void shard_map(struct repl *r, struct repl_shard *s, const struct map *m,
               const struct map_shard *ms);
/* Takes up the role that the map gives, or defers it. */
void shard_enter(struct repl *r, struct repl_shard *s);
void shard_tick(struct repl *r, struct repl_shard *s);
static inline bool shard_is_primary(const struct repl_shard *s)
{
    return s->state >= REPL_RECOVER && s->state <= REPL_RESIGNED;
}
static inline bool shard_is_replica(const struct repl_shard *s)
{
    return s->state >= REPL_MEMBER_JOIN && s->state <= REPL_FOLLOW;
}
/* Tells env.committed what is new. */
void shard_committed(struct repl *r, struct repl_shard *s);
/* Entries into the log, from elsewhere: logged, then applied. False: they do not fit. */
bool shard_take_entries(struct repl *r, struct repl_shard *s, struct slice in);
/* Version up to which this node may say that it has the log. */
static inline uint64_t shard_own(const struct repl *r, const struct repl_shard *s)
{
    return r->set.durable ? MIN(s->durable, s->history.version) : s->history.version;
}
/* An entry, or the source of a copy, says that this lane has ended. */
void shard_lane_ended(struct repl *r, struct repl_shard *s, uint64_t lane);
/* Drops the data; the log is empty. */
void shard_empty(struct repl *r, struct repl_shard *s);

/* primary.c */
void primary_enter(struct repl *r, struct repl_shard *s);
void primary_leave(struct repl *r, struct repl_shard *s);
void primary_map(struct repl *r, struct repl_shard *s, const struct map *m,
                 const struct map_shard *ms, bool anew);
void primary_join(struct repl *r, struct repl_shard *s, int peer, const struct repl_join *j);
void primary_ack(struct repl *r, struct repl_shard *s, int peer, const struct repl_mark *a);
void primary_commit(struct repl *r, struct repl_shard *s);
void primary_tick(struct repl *r, struct repl_shard *s);
void primary_down(struct repl *r, struct repl_shard *s, int peer);
void primary_revoked(struct repl *r, struct repl_shard *s, int peer, uint64_t term);
void primary_uncounted(struct repl *r, struct repl_shard *s, int peer,
                       const struct repl_counted *c);
void primary_pulled(struct repl *r, struct repl_shard *s, int peer, struct slice entries);
void primary_uncount(struct repl *r, struct repl_shard *s, struct member *m);
void primary_count_set(struct repl_shard *s);
void primary_tell_counted(struct repl *r, struct repl_shard *s, struct member *m, bool counted);
/* What the backlog no longer has cannot be sent: the member's flow ends. */
void primary_lost(struct repl *r, struct repl_shard *s, struct member *m);
struct member *primary_member(struct repl_shard *s, int peer);
/* A member of the commit set that is not just waiting for the end of our promise to it. */
static inline bool member_counts(const struct member *m)
{
    return m->in_set && (m->in_sync || m->add_term != 0);
}

/* handover.c */
void handover_tick(struct repl *r, struct repl_shard *s);
void handover_stop(struct repl_shard *s);

/* copy.c */
void copy_want(struct repl *r, struct repl_shard *s, struct member *m);
void copy_unwant(struct repl *r, struct member *m);
/* Ends it; `tell`: the replica is told, it joins again. */
void copy_stop(struct repl *r, struct repl_shard *s, struct member *m, bool tell);
void copy_schedule(struct repl *r);
/* A slice, if there is room. True: more could be done at once. */
bool copy_step(struct repl *r, struct repl_shard *s, struct member *m);
void copy_appended(struct repl_shard *s);
void copy_taken(struct repl *r, struct repl_shard *s, int peer, const struct repl_copy_taken *t);

/* replica.c */
void replica_enter(struct repl *r, struct repl_shard *s);
void replica_leave(struct repl *r, struct repl_shard *s);
void replica_up(struct repl *r, struct repl_shard *s);
void replica_down(struct repl *r, struct repl_shard *s);
void replica_tick(struct repl *r, struct repl_shard *s);
void replica_message(struct repl *r, struct repl_shard *s, int peer, const struct repl_message *m);

/* For the inbox: one that is next in its order; of a portrait, and all of it. */
void replica_take(struct repl *r, struct repl_shard *s, const struct repl_message *m);
void replica_take_part(struct repl *r, struct repl_shard *s, uint64_t number, struct slice part);
void replica_take_whole(struct repl *r, struct repl_shard *s, uint64_t number);
/* So many bytes more of keys and parts were taken, or are kept. */
void replica_taken(struct repl *r, struct repl_shard *s, size_t bytes);
/* Ends a copy that makes no sense, or is too much: it is begun anew. */
void replica_break_off(struct repl *r, struct repl_shard *s);

/* inbox.c */
/* Whether messages of that kind are taken in their order, with what is copied. */
bool inbox_orders(enum repl_kind kind);
/* Such a one, or a part of a portrait: taken at once if it is its turn, else kept. */
void inbox_message(struct repl *r, struct repl_shard *s, const struct repl_message *m);
/* Behind a COPY_PORTRAIT: what follows waits until it is whole. */
void inbox_wait(struct repl *r, struct repl_shard *s, uint64_t number);
/* At a turn's end. True: more could be taken at once. */
bool inbox_step(struct repl *r, struct repl_shard *s);
void inbox_clear(struct repl_shard *s);

/* lease.c */
/* The time until which all leases of a primary stand, but for that of `but` (a peer, or -1). */
int64_t lease_primary_until(const struct repl *r, const struct repl_shard *s, int but);
int64_t lease_less_drift(int64_t us);
void lease_beacons(struct repl *r);
void lease_promise(struct repl *r, struct peer *p); /* answers the beacon */
void lease_promised(struct repl *r, struct peer *p, const struct repl_promise *m);

/* turn.c */
/* Entries up to the log's end to this member; force: beyond the link's room. True: all are sent. */
bool turn_send_entries(struct repl *r, struct repl_shard *s, struct member *m, bool force);
