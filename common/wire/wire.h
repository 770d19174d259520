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
    uint64_t term;
    uint64_t version;
    uint64_t keys;
};

struct wire_shards {
    struct wire_shard *items;
    size_t count;
};

#define BEGIN(NAME, name)       struct wire_##name {
#define U64(name, field)        uint64_t field;
#define TEXT(name, field, size) char field[size];
#define SHARDS(name, field)     struct wire_shards field;
#define BLOB(name, field)       struct slice field;
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "common/wire/messages.def"
#undef BEGIN
#undef U64
#undef TEXT
#undef SHARDS
#undef BLOB
#undef END

#define U64(name, field)
#define TEXT(name, field, size)
#define SHARDS(name, field)
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
#undef BLOB
#undef END
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
/* A shard's entry, or NULL. */
const struct wire_shard *wire_shards_find(const struct wire_shards *l, int shard);
void wire_shards_add(struct wire_shards *l, struct wire_shard s);
