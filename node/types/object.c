// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/object.h"

#include "node/types/hash.h"
#include "node/types/object_ops.h"
#include "node/types/portrait.h"
#include "node/types/quicklist.h"
#include "node/types/rdb.h"
#include "node/types/set.h"
#include "node/types/string.h"
#include "node/types/xstream.h"
#include "node/types/zset.h"

#include "common/base/hash.h"
#include "common/base/mem.h"

static const char *const type_names[] = {
    [OBJECT_STRING] = "string", [OBJECT_LIST] = "list", [OBJECT_SET] = "set",
    [OBJECT_ZSET] = "zset",     [OBJECT_HASH] = "hash", [OBJECT_STREAM] = "stream",
};

/* clang-format off */
const struct object_ops *const object_types[] = {
    [OBJECT_HASH] = &hash_ops,
    [OBJECT_LIST] = &quicklist_ops,
    [OBJECT_SET] = &set_ops,
    [OBJECT_STREAM] = &xstream_ops,
    [OBJECT_ZSET] = &zset_ops,
};
/* clang-format on */

static inline bool is_string(const struct object *o)
{
    return LIKELY(o->type == OBJECT_STRING);
}

static inline const struct object_ops *ops_of(const struct object *o)
{
    const struct object_ops *ops = object_types[o->type];
    INVARIANT(ops != NULL);
    return ops;
}

static inline size_t head_size(size_t key_len, bool expire_room)
{
    return sizeof(struct object) + (expire_room ? sizeof(int64_t) : 0) + key_len;
}

struct object *object_new(enum object_type type, struct slice key, int64_t expire_ms,
                          size_t value_size)
{
    INVARIANT(key.len <= UINT32_MAX);
    bool expires = expire_ms != OBJECT_NO_EXPIRE;
    struct object *o = mem_alloc(object_size_class(head_size(key.len, expires) + value_size));
    o->type = type & 0x7U;
    o->encoding = 0;
    o->expire_room = expires;
    o->clock = 0;
    o->key_len = (uint32_t)key.len;
    if (expires) {
        object_set_expire(o, expire_ms);
    }
    if (key.len > 0) {
        memcpy(object_value(o) - key.len, key.ptr, key.len);
    }
    return o;
}

struct object *object_new_rooted(enum object_type type, unsigned encoding, struct slice key,
                                 int64_t expire_ms, const void *root)
{
    struct object *o = object_new(type, key, expire_ms, sizeof(root));
    o->encoding = encoding & 0xfU;
    object_set_root(o, root);
    return o;
}

void object_free(struct object **op)
{
    struct object *o = *op;
    if (o != NULL) {
        *op = NULL;
        if (is_string(o)) {
            string_free_value(o);
        } else if (UNLIKELY(portraits_adopt(o))) {
            return;
        } else {
            ops_of(o)->free_value(o);
        }
        mem_free(o);
    }
}

bool object_free_some(struct object **o, uint64_t budget, uint64_t *freed)
{
    const struct object_ops *ops = is_string(*o) ? NULL : ops_of(*o);
    if (ops != NULL && portraits_adopt(*o)) {
        *o = NULL;
    } else if (ops != NULL && ops->free_some != NULL && ops->free_some(*o, budget, freed)) {
        return false;
    }
    object_free(o);
    ++*freed;
    return true;
}

struct object *object_rekey(struct object *o, struct slice key, int64_t expire_ms)
{
    size_t value_size = object_inline_size(o);
    struct object *n = object_new((enum object_type)o->type, key, expire_ms, value_size);
    n->encoding = o->encoding;
    n->clock = o->clock;
    /* The value's bytes move, and with them what they point to. */
    memcpy(object_value(n), object_value(o), value_size);
    mem_free(o);
    return n;
}

struct object *object_copy(const struct object *o, struct slice key, int64_t expire_ms)
{
    if (is_string(o)) {
        return string_copy(o, key, expire_ms);
    }
    struct object *to =
        object_new_rooted((enum object_type)o->type, o->encoding, key, expire_ms, NULL);
    ops_of(o)->copy_value(o, to);
    return to;
}

size_t object_inline_size(const struct object *o)
{
    return is_string(o) ? string_inline_size(o) : sizeof(void *);
}

size_t object_memory(const struct object *o)
{
    return object_size_class(head_size(o->key_len, o->expire_room) + object_inline_size(o)) +
           (is_string(o) ? string_memory(o) : ops_of(o)->memory(o));
}

size_t object_length(const struct object *o)
{
    return is_string(o) ? 1 : ops_of(o)->length(o);
}

size_t object_free_effort(const struct object *o)
{
    return is_string(o) ? 1 : ops_of(o)->free_effort(o); /* a string is one piece */
}

const char *object_type_name(const struct object *o)
{
    return type_names[o->type];
}

int object_type_from_name(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(type_names); i++) {
        if (slice_is(name, type_names[i])) {
            return (int)i;
        }
    }
    return -1;
}

const char *object_encoding_name(const struct object *o)
{
    return is_string(o) ? string_encoding_name(o) : ops_of(o)->encoding_name(o);
}

int object_refcount(const struct object *o)
{
    return is_string(o) && string_is_small_int(o) ? INT32_MAX : 1;
}

size_t object_serialized_size(const struct object *o)
{
    if (!is_string(o)) {
        struct str value = {0};
        rdb_write_value(&value, o, false);
        size_t len = value.len;
        str_fini(&value);
        return len;
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice v = string_bytes(o, digits);
    int64_t n;
    if (string_get_int(o, &n) && n >= INT32_MIN && n <= INT32_MAX) {
        return n >= INT8_MIN && n <= INT8_MAX ? 2 : n >= INT16_MIN && n <= INT16_MAX ? 3 : 5;
    }
    size_t header = v.len < 64 ? 1 : v.len < 16384 ? 2 : v.len <= UINT32_MAX ? 5 : 9;
    return header + v.len;
}

/* ---- digests ---- */

void digest_mix(struct digest *d, const void *ptr, size_t len)
{
    /* Three hashes with fixed seeds, each over the bytes and what came before. */
    for (size_t i = 0; i < 3; i++) {
        uint64_t before = 0;
        size_t width = MIN(sizeof(before), sizeof(d->bytes) - i * sizeof(before));
        memcpy(&before, d->bytes + i * sizeof(before), width);
        uint64_t h = hash_bytes(ptr, len, before * 0x9E3779B97F4A7C15ULL + i + 1);
        memcpy(d->bytes + i * sizeof(h), &h, width);
    }
}

static void mix_value(struct digest *d, const struct object *o)
{
    const char *type = object_type_name(o);
    digest_mix(d, type, strlen(type));
    if (is_string(o)) {
        char digits[NUM_I64_MAX_LEN];
        struct slice v = string_bytes(o, digits);
        digest_mix(d, v.ptr, v.len);
    } else {
        ops_of(o)->digest(o, d);
    }
    if (object_expire(o) != OBJECT_NO_EXPIRE) {
        digest_mix(d, "expires", 7);
    }
}

void object_digest_value(const struct object *o, struct digest *out)
{
    *out = (struct digest){0};
    mix_value(out, o);
}

void object_digest(const struct object *o, struct digest *out)
{
    *out = (struct digest){0};
    struct slice key = object_key(o);
    digest_mix(out, key.ptr, key.len);
    mix_value(out, o);
}

void digest_xor(struct digest *d, const struct digest *other)
{
    for (size_t i = 0; i < sizeof(d->bytes); i++) {
        d->bytes[i] ^= other->bytes[i];
    }
}

void digest_hex(const struct digest *d, char to[41])
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(d->bytes); i++) {
        to[2 * i] = hex[d->bytes[i] >> 4];
        to[2 * i + 1] = hex[d->bytes[i] & 15];
    }
    to[40] = '\0';
}
