// SPDX-License-Identifier: BSD-3-Clause
/* What nodes tell each other, as structs: docs/REPLICATION.md, section 5. Slices and lists are
 * borrowed for the call, in both directions. Their bytes: frame.h. Pure. */
#pragma once

#include "node/log/history.h"

#include "common/model/map.h"

#define REPL_WIRE_VERSION 5

enum repl_kind {
    REPL_HELLO = 1, /* of the link alone: the core neither sends nor gets it */
    REPL_JOIN,
    REPL_REVOKE,
    REPL_ENTRIES,
    REPL_ACK,
    REPL_COMMIT,
    REPL_COUNTED,
    REPL_PULL,
    REPL_BEACON,
    REPL_PROMISE,
    REPL_RESIGN,
    REPL_REOPEN,
    REPL_COPY_BEGIN,
    REPL_COPY_KEYS,
    REPL_COPY_WINDOW,
    REPL_COPY_END,
    REPL_COPY_ABORT,
    REPL_COPY_LANES,
    REPL_WINDOW,
    REPL_COPY_TAKEN,
    REPL_COPY_PORTRAIT,
    REPL_COPY_PART,
    REPL_KINDS
};

struct repl_hello {
    uint32_t version; /* REPL_WIRE_VERSION */
    char id[NODE_ID_LEN + 1];
    char cluster_id[NODE_ID_LEN + 1];
    uint64_t incarnation;
};

/* One shard's progress, in ACK and COMMIT. */
struct repl_mark {
    uint32_t shard;
    uint64_t term;    /* primary term */
    uint64_t version; /* ACK: has it (on disk, if it must be); COMMIT: committed */
    uint64_t durable; /* ACK: known to be on disk; COMMIT: 0 */
};

struct repl_marks {
    const struct repl_mark *items;
    size_t count;
};

struct repl_join {
    uint64_t last_term; /* log's end; (0, 0): nothing */
    uint64_t last_version;
    uint64_t own;    /* acknowledged by this: less than last_version where that is not on disk */
    uint64_t number; /* of this attempt, rising in a session; a repeated one has the same */
    uint64_t first;  /* of its backlog, which is to go back further; 0: it need not */
    uint64_t since;  /* the term in which it became a member, by its map */
};

struct repl_entries {
    struct slice bytes; /* whole entries, versions rising by one */
};

struct repl_counted {
    uint32_t counted; /* 1, 0 */
    uint32_t answer;  /* 1: from the member, that it took notice of this (0) */
    uint64_t number;  /* of this notice; an answer repeats it */
    uint64_t commit;  /* commit version, known now */
    uint64_t join;    /* number of the JOIN that it goes on from: else it is of before that */
};

struct repl_pull {
    uint64_t from;      /* first version wanted */
    uint64_t prev_term; /* of the version before it, where the asker's log ends; 0: it is empty */
};

struct repl_beacon {
    int64_t time_us; /* the asker's clock; means nothing to others */
    int64_t lease_us;
};

struct repl_promise {
    int64_t time_us;  /* of the beacon */
    int64_t lease_us; /* of the beacon: what a primary gets from its member */
    /* What a member gets from its primary: as long as the primary is sure of its own leases; no
     * longer than lease_us. 0: nothing. */
    int64_t read_us;
};

struct repl_copy_begin {
    uint64_t copy;          /* number of this copy, of its source's */
    uint64_t join;          /* number of the member's last JOIN, as in COUNTED */
    struct history history; /* the log's end as it begins: entries go on behind it */
    uint64_t window_first;  /* the windows, which follow, begin with this version */
    int64_t age_us;         /* all that came since then is in the windows; -1: all ever */
};

struct repl_copy_keys {
    uint64_t copy;
    struct slice keys; /* as env.copy_scan or env.copy_key wrote them */
};

/* A key whose value is too large for one message: it has its place in the stream here, as it is
 * now; its parts follow, among all that comes next. */
struct repl_copy_portrait {
    uint64_t copy;
    uint64_t number; /* of it, within the copy */
    struct slice head;
};

struct repl_copy_part {
    uint64_t copy;
    uint64_t number;
    uint32_t last; /* 1, 0 */
    struct slice bytes;
};

struct repl_copy_window {
    uint64_t copy;
    int64_t age_us;     /* how long ago the last of them came */
    struct slice bytes; /* entries, stripped */
};

/* For a member whose log goes on, but whose backlog does not go back far: it was restarted. */
struct repl_window {
    uint64_t join;      /* number of the member's last JOIN, as in COUNTED */
    int64_t age_us;     /* all that came since then is in here; -1: all ever */
    struct slice bytes; /* entries, stripped; the last one is where the member's log ended */
};

/* The other way: what is on its way to a replica must not keep it from what else it is told. */
struct repl_copy_taken {
    uint64_t copy;
    uint64_t bytes; /* of keys and parts, since the copy began */
};

/* Lanes that have ended: also those of which the windows tell nothing any more. */
struct repl_copy_lanes {
    uint64_t copy;
    struct slice ids; /* of 8 bytes, little-endian */
};

struct repl_copy_end {
    uint64_t copy;
    uint64_t last_term; /* the state is that of this entry, which was sent before */
    uint64_t last_version;
    uint64_t messages; /* COPY_KEYS, COPY_PORTRAIT and COPY_PART in all, as a check */
};

struct repl_message {
    enum repl_kind kind;
    uint32_t shard; /* of messages of one shard */
    uint64_t term;  /* the primary term; REVOKE: the newer one */
    union {
        struct repl_hello hello;
        struct repl_join join;
        struct repl_entries entries;
        struct repl_marks marks; /* ACK, COMMIT */
        struct repl_counted counted;
        struct repl_pull pull;
        struct repl_beacon beacon;
        struct repl_promise promise;
        struct repl_copy_begin copy_begin;
        struct repl_copy_keys copy_keys;
        struct repl_copy_portrait copy_portrait;
        struct repl_copy_part copy_part;
        struct repl_copy_window copy_window;
        struct repl_copy_end copy_end;
        struct repl_copy_lanes copy_lanes;
        struct repl_window window;
        struct repl_copy_taken copy_taken;
        uint64_t copy_abort; /* number of the copy */
    };
};
