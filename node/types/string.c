// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/string.h"

#include "node/types/portrait_priv.h"

#include "common/base/mem.h"

enum encoding {
    INT,       /* int64 */
    BYTES,     /* u16 length, bytes; set at once */
    BYTES_RAW, /* the same, after a change in place */
    CHUNK,     /* pointer to a chunk */
};

enum {
    LEN_SIZE = sizeof(uint16_t),
    EMBSTR_MAX = 44,          /* up to here Redis says embstr */
    GREEDY_MAX = 1024 * 1024, /* what grows gets as much again, at most this */
};
_Static_assert(STRING_EMBED_MAX <= UINT16_MAX, "its length is a uint16_t");

/* ---- layout ---- */

static inline void put_bytes(struct object *o, enum encoding encoding, struct slice value)
{
    unsigned char *to = object_value(o);
    uint16_t len = (uint16_t)value.len;
    o->encoding = encoding & 0xf;
    memcpy(to, &len, sizeof(len));
    if (value.len > 0) {
        memcpy(to + sizeof(len), value.ptr, value.len);
    }
}

static inline size_t embedded_len(const struct object *o)
{
    uint16_t len;
    memcpy(&len, object_value_const(o), sizeof(len));
    return len;
}

static inline void put_int(struct object *o, int64_t v)
{
    o->encoding = INT;
    memcpy(object_value(o), &v, sizeof(v));
}

static inline int64_t get_int(const struct object *o)
{
    int64_t v;
    memcpy(&v, object_value_const(o), sizeof(v));
    return v;
}

static inline void put_chunk(struct object *o, struct chunk *c)
{
    o->encoding = CHUNK;
    memcpy(object_value(o), &c, sizeof(c));
}

static inline struct chunk *get_chunk(const struct object *o)
{
    struct chunk *c;
    memcpy(&c, object_value_const(o), sizeof(c));
    return c;
}

/* A chunk that may hold a value to be portrayed has behind its bytes where the portraits are. */
static inline size_t slot_size(size_t cap)
{
    return cap >= PORTRAIT_MIN ? sizeof(struct portrait *) : 0;
}

/* Of a chunk for so many bytes. */
static size_t cap_for(size_t size)
{
    size_t cap = object_size_class(sizeof(struct chunk) + size) - sizeof(struct chunk);
    if (cap < PORTRAIT_MIN) {
        return cap;
    }
    size_t slot = sizeof(struct portrait *);
    return object_size_class(sizeof(struct chunk) + size + slot) - sizeof(struct chunk) - slot;
}

static inline struct portrait **slot_of(const struct chunk *c)
{
    return (struct portrait **)(uintptr_t)(c->data + c->cap);
}

static struct chunk *chunk_for(size_t size)
{
    size_t cap = cap_for(size);
    struct chunk *c = chunk_new(cap + slot_size(cap));
    c->cap = cap;
    if (slot_size(cap) > 0) {
        INVARIANT((uintptr_t)slot_of(c) % sizeof(struct portrait *) == 0);
        *slot_of(c) = NULL;
    }
    return c;
}

/* ---- making ---- */

static inline bool is_number(struct slice value, int64_t *out)
{
    /* Most values are none, and their first byte or length says so. */
    return value.len - 1 < NUM_I64_MAX_LEN - 1 &&
           ((unsigned char)(value.ptr[0] - '0') <= 9 || value.ptr[0] == '-') &&
           num_parse_i64(value, out);
}

struct object *string_new_int(struct slice key, int64_t expire_ms, int64_t value)
{
    struct object *o = object_new(OBJECT_STRING, key, expire_ms, sizeof(value));
    put_int(o, value);
    return o;
}

struct object *string_new_bytes(struct slice key, int64_t expire_ms, struct slice value, bool raw)
{
    if (value.len <= STRING_EMBED_MAX) {
        struct object *o = object_new(OBJECT_STRING, key, expire_ms, LEN_SIZE + value.len);
        put_bytes(o, raw ? BYTES_RAW : BYTES, value);
        return o;
    }
    struct object *o = object_new(OBJECT_STRING, key, expire_ms, sizeof(struct chunk *));
    struct chunk *c = chunk_for(value.len);
    memcpy(c->data, value.ptr, value.len);
    c->len = value.len;
    put_chunk(o, c);
    return o;
}

struct object *string_new(struct slice key, int64_t expire_ms, struct slice value)
{
    int64_t number;
    return is_number(value, &number) ? string_new_int(key, expire_ms, number)
                                     : string_new_bytes(key, expire_ms, value, false);
}

bool string_overwrite(struct object *o, int64_t expire_ms, struct slice value)
{
    if (o->type != OBJECT_STRING || (expire_ms != OBJECT_NO_EXPIRE && !o->expire_room)) {
        return false;
    }
    if (o->encoding == CHUNK) {
        struct chunk *c = get_chunk(o);
        if (value.len <= STRING_EMBED_MAX || c->refs > 1 || cap_for(value.len) != c->cap) {
            return false;
        }
        memcpy(c->data, value.ptr, value.len);
        c->len = value.len;
    } else {
        if (value.len > STRING_EMBED_MAX) {
            return false;
        }
        int64_t number = 0;
        bool is_int = is_number(value, &number);
        size_t head = (size_t)(object_value(o) - (unsigned char *)o);
        size_t now = head + (o->encoding == INT ? sizeof(number) : LEN_SIZE + embedded_len(o));
        size_t wanted = head + (is_int ? sizeof(number) : LEN_SIZE + value.len);
        if (object_size_class(now) != object_size_class(wanted)) {
            return false;
        }
        if (is_int) {
            put_int(o, number);
        } else {
            put_bytes(o, BYTES, value);
        }
    }
    if (o->expire_room) {
        object_set_expire(o, expire_ms);
    }
    return true;
}

/* ---- reading ---- */

struct slice string_bytes(const struct object *o, char digits[NUM_I64_MAX_LEN])
{
    INVARIANT(o->type == OBJECT_STRING);
    switch ((enum encoding)o->encoding) {
    case INT:
        return slice_of(digits, num_print_i64(digits, get_int(o)));
    case CHUNK: {
        const struct chunk *c = get_chunk(o);
        return slice_of(c->data, c->len);
    }
    case BYTES:
    case BYTES_RAW:
        break;
    }
    return slice_of((const char *)object_value_const(o) + LEN_SIZE, embedded_len(o));
}

size_t string_len(const struct object *o)
{
    char digits[NUM_I64_MAX_LEN];
    return string_bytes(o, digits).len;
}

struct chunk *string_chunk(const struct object *o)
{
    return o->encoding == CHUNK ? get_chunk(o) : NULL;
}

bool string_get_int(const struct object *o, int64_t *out)
{
    if (o->encoding == INT) {
        *out = get_int(o);
        return true;
    }
    char digits[NUM_I64_MAX_LEN];
    return num_parse_i64(string_bytes(o, digits), out);
}

bool string_set_int(struct object *o, int64_t value)
{
    if (o->encoding != INT) {
        return false;
    }
    put_int(o, value);
    return true;
}

/* ---- changing ---- */

static struct object *resize_embedded(struct object *o, size_t len, char **bytes)
{
    char digits[NUM_I64_MAX_LEN];
    struct slice old = string_bytes(o, digits);
    size_t head = (size_t)(object_value(o) - (unsigned char *)o);
    if (o->encoding != INT &&
        object_size_class(head + LEN_SIZE + old.len) == object_size_class(head + LEN_SIZE + len)) {
        uint16_t now = (uint16_t)len;
        memcpy(object_value(o), &now, sizeof(now));
        o->encoding = BYTES_RAW;
    } else {
        struct object *n =
            object_new(OBJECT_STRING, object_key(o), object_expire(o), LEN_SIZE + len);
        n->clock = o->clock;
        uint16_t now = (uint16_t)len;
        memcpy(object_value(n), &now, sizeof(now));
        memcpy(object_value(n) + LEN_SIZE, old.ptr, MIN(old.len, len));
        n->encoding = BYTES_RAW;
        object_free(&o);
        o = n;
    }
    *bytes = (char *)object_value(o) + LEN_SIZE;
    if (len > old.len) {
        memset(*bytes + old.len, 0, len - old.len);
    }
    return o;
}

/* Bytes of what will be written, the new ones aside. */
struct part {
    size_t at;
    size_t n;
};

/* Nobody but portraits shares it, and they have now what they need of what will change. */
static bool is_ours(struct chunk *c, size_t len, struct part part)
{
    if (c->refs == 1) {
        return true;
    }
    struct portrait *first = slot_size(c->cap) == 0 ? NULL : *slot_of(c);
    if (c->refs - 1 != portraits_count(first)) {
        return false;
    }
    portraits_before_bytes(first, part.at, part.at + part.n);
    if (len > c->len) {
        portraits_before_bytes(first, c->len, len);
    }
    return true;
}

static struct object *resize(struct object *o, size_t len, size_t room, struct part part,
                             char **bytes)
{
    if (o->encoding != CHUNK && len <= STRING_GROW_MAX) {
        return resize_embedded(o, len, bytes);
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice old = string_bytes(o, digits);
    struct chunk *c = string_chunk(o);
    if (c == NULL || c->cap < len || !is_ours(c, len, part)) {
        size_t spare = old.len == 0 || len <= old.len ? 0 : room;
        struct chunk *grown = chunk_for(len + spare);
        if (old.len > 0) {
            memcpy(grown->data, old.ptr, MIN(old.len, len));
        }
        if (c == NULL) {
            struct object *n =
                object_new(OBJECT_STRING, object_key(o), object_expire(o), sizeof(struct chunk *));
            n->clock = o->clock;
            object_free(&o);
            o = n;
        } else {
            chunk_unref(&c);
        }
        put_chunk(o, grown);
        c = grown;
    }
    if (len > old.len) {
        memset(c->data + old.len, 0, len - old.len);
    }
    c->len = len;
    *bytes = c->data;
    return o;
}

struct object *string_resize_room(struct object *o, size_t len, size_t room, char **bytes)
{
    return resize(o, len, room, (struct part){.n = SIZE_MAX}, bytes);
}

struct object *string_resize(struct object *o, size_t len, char **bytes)
{
    return string_resize_room(o, len, MIN(len, (size_t)GREEDY_MAX), bytes);
}

struct object *string_resize_part(struct object *o, size_t len, size_t at, size_t n, char **bytes)
{
    return resize(o, len, MIN(len, (size_t)GREEDY_MAX), (struct part){.at = at, .n = n}, bytes);
}

struct portrait **string_portraits(const struct object *o)
{
    const struct chunk *c = get_chunk(o);
    INVARIANT(o->encoding == CHUNK && slot_size(c->cap) > 0);
    return slot_of(c);
}

/* ---- for object.c ---- */

void string_free_value(struct object *o)
{
    if (o->encoding == CHUNK) {
        struct chunk *c = get_chunk(o);
        chunk_unref(&c);
    }
}

size_t string_memory(const struct object *o)
{
    if (o->encoding != CHUNK) {
        return 0;
    }
    size_t cap = get_chunk(o)->cap;
    return sizeof(struct chunk) + cap + slot_size(cap);
}

size_t string_inline_size(const struct object *o)
{
    switch ((enum encoding)o->encoding) {
    case INT:
        return sizeof(int64_t);
    case CHUNK:
        return sizeof(struct chunk *);
    case BYTES:
    case BYTES_RAW:
        break;
    }
    return LEN_SIZE + embedded_len(o);
}

bool string_is_small_int(const struct object *o)
{
    return o->encoding == INT && get_int(o) >= 0 && get_int(o) < 10000;
}

const char *string_encoding_name(const struct object *o)
{
    if (o->encoding == INT) {
        return "int";
    }
    return o->encoding == BYTES && embedded_len(o) <= EMBSTR_MAX ? "embstr" : "raw";
}

struct object *string_copy(const struct object *o, struct slice key, int64_t expire_ms)
{
    if (o->encoding == INT) {
        return string_new_int(key, expire_ms, get_int(o));
    }
    char digits[NUM_I64_MAX_LEN];
    return string_new_bytes(key, expire_ms, string_bytes(o, digits), o->encoding == BYTES_RAW);
}
