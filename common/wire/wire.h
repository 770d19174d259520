// SPDX-License-Identifier: BSD-3-Clause
/* Messages between node and coordinator as structs, and as the words of a RESP array: the name,
 * then each field of messages.def as one bulk string, so that redis-cli can speak it.
 *
 * Encoding cannot fail. Decoding trusts nothing: numbers, lengths, counts and characters are
 * checked; further words than the message has are ignored. Pure. */
#pragma once

#include "common/base/str.h"
#include "common/model/map.h"

struct wire_shard {
    int shard;
    uint64_t term; /* of the last entry */
    uint64_t version;
    uint64_t keys;
    uint64_t bytes; /* memory of the keys, about */
};

struct wire_shards {
    struct wire_shard *items;
    size_t count;
};

enum wire_op {
    WIRE_ADD,
    WIRE_REMOVE,
    WIRE_HANDED,
    WIRE_SERVING,
    WIRE_HOLLOW,
    WIRE_WHOLE,
    WIRE_HANDOVER,
    WIRE_DROP
};

/* What is asked of a shard, or was done: see REPORT and ORDER in messages.def. */
struct wire_change {
    enum wire_op op;
    int shard;
    uint64_t term;
    char node[NODE_ID_LEN + 1];
};

struct wire_changes {
    struct wire_change *items;
    size_t count;
};

/* How far a member of a shard is, as its primary knows. */
struct wire_copy {
    int shard;
    char node[NODE_ID_LEN + 1];
    uint64_t lag_versions;
    uint64_t lag_bytes;
    uint64_t lag_ms;
    uint64_t done; /* bytes of its full copy, 0 without one */
    uint64_t left;
};

struct wire_copies {
    struct wire_copy *items;
    size_t count;
};

#define WIRE_CHANGES_MAX (SLOTS * 8)
#define WIRE_COPIES_MAX  (SLOTS * 8)

#define BEGIN(NAME, name)       struct wire_##name {
#define U64(name, field)        uint64_t field;
#define TEXT(name, field, size) char field[size];
#define SHARDS(name, field)     struct wire_shards field;
#define CHANGES(name, field)    struct wire_changes field;
#define COPIES(name, field)     struct wire_copies field;
#define BLOB(name, field)       struct slice field;
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "common/wire/messages.def"
#undef BEGIN
#undef U64
#undef TEXT
#undef SHARDS
#undef CHANGES
#undef COPIES
#undef BLOB
#undef END

#define U64(name, field)
#define TEXT(name, field, size)
#define SHARDS(name, field)
#define CHANGES(name, field)
#define COPIES(name, field)
#define BLOB(name, field)
#define END(name)

enum wire_kind {
#define BEGIN(NAME, name) WIRE_##NAME,
#include "common/wire/messages.def"
#undef BEGIN
    WIRE_KINDS
};

struct wire_message {
    enum wire_kind kind;
    union {
#define BEGIN(NAME, name) struct wire_##name name;
#include "common/wire/messages.def"
#undef BEGIN
    };
};

#undef U64
#undef TEXT
#undef SHARDS
#undef CHANGES
#undef COPIES
#undef BLOB
#undef END

#define WIRE_FIELDS_MAX 16

/* An encoded message: words into `text` (and into the message's blob, which must outlive it). */
struct wire_frame {
    struct str text;
    struct slice argv[WIRE_FIELDS_MAX + 1];
    size_t argc;
};

void wire_encode(const struct wire_message *m, struct wire_frame *out); /* out: zeroed or used */
void wire_frame_fini(struct wire_frame *f);

/* NULL, or what is wrong; then nothing needs freeing. Blobs borrow from argv. */
const char *wire_decode(const struct slice *argv, size_t argc, struct wire_message *out) MUSTCHECK;
/* Frees the lists that wire_decode made, or that the caller allocated with mem_alloc. */
void wire_message_fini(struct wire_message *m);

const char *wire_kind_name(enum wire_kind k);
/* A shard's entry, or NULL; shards rise in the list. */
const struct wire_shard *wire_shards_find(const struct wire_shards *l, int shard);
void wire_shards_add(struct wire_shards *l, struct wire_shard s);
void wire_changes_add(struct wire_changes *l, enum wire_op op, int shard, uint64_t term,
                      const char *node);
void wire_copies_add(struct wire_copies *l, const struct wire_copy *c);
const char *wire_op_name(enum wire_op op);
