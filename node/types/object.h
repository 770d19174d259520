// SPDX-License-Identifier: BSD-3-Clause
/* A key with its value: one allocation for what is small, a header and a pointer for what is not.
 *
 *   | type enc clock | key_len | [expire_ms] | key bytes | value                         |
 *     4 bytes          4 bytes   8, optional              int64 | u16 length, bytes | pointer
 *
 * The clock is Redis's 24 bits: seconds of the last access, or LFU counter. Owned by the table of
 * one shard and database; the node's thread. Pure. Each type hides its own encodings behind its own
 * header (string.h); this one only knows what all have in common. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

#define OBJECT_NO_EXPIRE  INT64_C(-1)
#define OBJECT_CLOCK_MASK 0xffffffU

enum object_type {
    OBJECT_STRING,
    OBJECT_LIST,
    OBJECT_SET,
    OBJECT_ZSET,
    OBJECT_HASH,
    OBJECT_STREAM,
};

struct object {
    uint32_t type : 3;
    uint32_t encoding : 4;
    uint32_t expire_room : 1; /* the 8 bytes are there; they may still say OBJECT_NO_EXPIRE */
    uint32_t clock : 24;
    uint32_t key_len;
    unsigned char data[];
};

/* What the allocator really gives for a request of `size`: jemalloc's size classes. Requests made
 * in exactly these sizes waste nothing and can be accounted without asking the allocator. */
static inline size_t object_size_class(size_t size)
{
    if (size <= 128) {
        return size <= 8 ? 8 : (size + 15) & ~(size_t)15;
    }
    size_t step = (size_t)1 << (61 - __builtin_clzll(size - 1));
    return (size + step - 1) & ~(step - 1);
}

static inline struct slice object_key(const struct object *o)
{
    return slice_of((const char *)o->data + (o->expire_room ? 8 : 0), o->key_len);
}

/* Where the value begins: unaligned. */
static inline unsigned char *object_value(struct object *o)
{
    return o->data + (o->expire_room ? 8 : 0) + o->key_len;
}

static inline const unsigned char *object_value_const(const struct object *o)
{
    return o->data + (o->expire_room ? 8 : 0) + o->key_len;
}

/* OBJECT_NO_EXPIRE: lives for ever. Milliseconds since 1970. */
static inline int64_t object_expire(const struct object *o)
{
    int64_t at = OBJECT_NO_EXPIRE;
    if (o->expire_room) {
        memcpy(&at, o->data, sizeof(at));
    }
    return at;
}

/* Only where expire_room is set. */
static inline void object_set_expire(struct object *o, int64_t at_ms)
{
    memcpy(o->data, &at_ms, sizeof(at_ms));
}

/* Header and key with `value_size` bytes of uninitialised room behind; expire_room iff an expiry is
 * given. The caller sets the encoding. */
struct object *object_new(enum object_type type, struct slice key, int64_t expire_ms,
                          size_t value_size);
void object_free(struct object **o);
/* Bit by bit: some `budget` elements of it; *freed grows by how many. True: *o is gone. Between,
 * nothing else may be asked of it. */
bool object_free_some(struct object **o, uint64_t budget, uint64_t *freed);
/* The same value under another key and expiry; `o` is consumed. */
struct object *object_rekey(struct object *o, struct slice key, int64_t expire_ms);
/* A deep copy under another key and expiry. */
struct object *object_copy(const struct object *o, struct slice key, int64_t expire_ms);

/* Bytes of the value inside the allocation, behind the key. */
size_t object_inline_size(const struct object *o);
/* Bytes that freeing it gives back. */
size_t object_memory(const struct object *o);
/* Elements of what is no string; a key whose value has none is removed (but for streams). */
size_t object_length(const struct object *o);
/* How much work freeing is, in elements; above a few dozen it is done in slices. */
size_t object_free_effort(const struct object *o);

/* "string", "list"... as TYPE answers. */
const char *object_type_name(const struct object *o);
/* The type of that name, case-blind; -1 if there is none. */
int object_type_from_name(struct slice name);
/* "int", "embstr", "raw"... as OBJECT ENCODING answers. */
const char *object_encoding_name(const struct object *o);
/* What OBJECT REFCOUNT answers. Nothing is shared here; but Redis shares the integers below 10000,
 * and that is how clients see whether a value is kept as one. */
int object_refcount(const struct object *o);
/* Length of the value in RDB encoding without compression (DEBUG OBJECT's serializedlength). */
size_t object_serialized_size(const struct object *o);

/* 160 bits of key, value and whether it expires; XOR of all is the digest of a data set, whatever
 * the order and on however many nodes. */
struct digest {
    unsigned char bytes[20];
};
void object_digest(const struct object *o, struct digest *out);
void object_digest_value(const struct object *o, struct digest *out);
void digest_xor(struct digest *d, const struct digest *other);
/* 40 hex digits and NUL. */
void digest_hex(const struct digest *d, char to[41]);
