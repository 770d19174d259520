// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/rdb.h"

#include "node/types/hash.h"
#include "node/types/object_ops.h"
#include "node/types/quicklist.h"
#include "node/types/set.h"
#include "node/types/string.h"
#include "node/types/xstream_rdb.h"
#include "node/types/zset.h"

#include "common/base/crc.h"
#include "common/base/mem.h"
#include "common/base/num.h"

#include <endian.h>
#include <liblzf/lzf.h>

enum {
    FORM_SHIFT = 6,
    FORM_6 = 0,
    FORM_14 = 1,
    FORM_WIDE = 2,
    FORM_SPECIAL = 3,
    WIDE_32 = 0x80,
    WIDE_64 = 0x81,
    SPECIAL_I8 = 0,
    SPECIAL_I16 = 1,
    SPECIAL_I32 = 2,
    SPECIAL_LZF = 3,
    /* Two or three packed bytes stand for at most 264: who claims more has no such bytes. */
    LZF_RATIO_MAX = 264,
    INT_TEXT_MAX = 11, /* longest text that may be a 32-bit number */
    TYPES = 32,
};

/* ---- writing ---- */

void rdb_write_len(struct str *to, uint64_t len)
{
    char *p = str_reserve(to, 9);
    size_t n;
    if (len < 64) {
        p[0] = (char)len;
        n = 1;
    } else if (len < 16384) {
        p[0] = (char)(FORM_14 << FORM_SHIFT | len >> 8);
        p[1] = (char)len;
        n = 2;
    } else if (len <= UINT32_MAX) {
        uint32_t be = htobe32((uint32_t)len);
        p[0] = (char)WIDE_32;
        memcpy(p + 1, &be, sizeof(be));
        n = 5;
    } else {
        uint64_t be = htobe64(len);
        p[0] = (char)WIDE_64;
        memcpy(p + 1, &be, sizeof(be));
        n = 9;
    }
    to->len += n;
    to->ptr[to->len] = '\0';
}

/* False: it is not so short. */
static bool write_int(struct str *to, int64_t v)
{
    char bytes[5];
    size_t n;
    if (v >= INT8_MIN && v <= INT8_MAX) {
        bytes[0] = (char)(FORM_SPECIAL << FORM_SHIFT | SPECIAL_I8);
        bytes[1] = (char)v;
        n = 2;
    } else if (v >= INT16_MIN && v <= INT16_MAX) {
        uint16_t le = htole16((uint16_t)v);
        bytes[0] = (char)(FORM_SPECIAL << FORM_SHIFT | SPECIAL_I16);
        memcpy(bytes + 1, &le, sizeof(le));
        n = 3;
    } else if (v >= INT32_MIN && v <= INT32_MAX) {
        uint32_t le = htole32((uint32_t)v);
        bytes[0] = (char)(FORM_SPECIAL << FORM_SHIFT | SPECIAL_I32);
        memcpy(bytes + 1, &le, sizeof(le));
        n = 5;
    } else {
        return false;
    }
    str_append(to, bytes, n);
    return true;
}

/* False: it does not get shorter, nothing was written. */
static bool write_packed(struct str *to, struct slice v)
{
    if (v.len > UINT32_MAX) {
        return false;
    }
    unsigned room = (unsigned)v.len - 4;
    char *packed = mem_alloc(room);
    unsigned n = lzf_compress(v.ptr, (unsigned)v.len, packed, room);
    if (n > 0) {
        str_append_char(to, (char)(FORM_SPECIAL << FORM_SHIFT | SPECIAL_LZF));
        rdb_write_len(to, n);
        rdb_write_len(to, v.len);
        str_append(to, packed, n);
    }
    mem_free(packed);
    return n > 0;
}

void rdb_write_string(struct str *to, struct slice v, bool compress)
{
    int64_t number;
    if (v.len <= INT_TEXT_MAX && num_parse_i64(v, &number) && write_int(to, number)) {
        return;
    }
    if (compress && v.len >= RDB_COMPRESS_MIN && write_packed(to, v)) {
        return;
    }
    rdb_write_len(to, v.len);
    str_append_slice(to, v);
}

/* ---- reading ---- */

static bool take(struct slice *in, void *to, size_t n)
{
    if (in->len < n) {
        return false;
    }
    memcpy(to, in->ptr, n);
    *in = slice_of(in->ptr + n, in->len - n);
    return true;
}

bool rdb_read_byte(struct slice *in, unsigned *out)
{
    unsigned char byte;
    if (!take(in, &byte, 1)) {
        return false;
    }
    *out = byte;
    return true;
}

bool rdb_read_len(struct slice *in, uint64_t *len, bool *special)
{
    unsigned first;
    unsigned second;
    uint32_t be32;
    uint64_t be64;
    if (!rdb_read_byte(in, &first)) {
        return false;
    }
    if (special != NULL) {
        *special = first >> FORM_SHIFT == FORM_SPECIAL;
    }
    switch (first >> FORM_SHIFT) {
    case FORM_6:
        *len = first;
        return true;
    case FORM_14:
        if (!rdb_read_byte(in, &second)) {
            return false;
        }
        *len = (first & 0x3f) << 8 | second;
        return true;
    case FORM_WIDE:
        if (first == WIDE_32 && take(in, &be32, sizeof(be32))) {
            *len = be32toh(be32);
            return true;
        }
        if (first == WIDE_64 && take(in, &be64, sizeof(be64))) {
            *len = be64toh(be64);
            return true;
        }
        return false;
    default:
        *len = first & 0x3f;
        return special != NULL;
    }
}

static bool read_int(struct slice *in, uint64_t form, int64_t *out)
{
    int8_t i8;
    uint16_t le16;
    uint32_t le32;
    switch (form) {
    case SPECIAL_I8:
        if (!take(in, &i8, sizeof(i8))) {
            return false;
        }
        *out = (int64_t)i8;
        return true;
    case SPECIAL_I16:
        if (!take(in, &le16, sizeof(le16))) {
            return false;
        }
        *out = (int16_t)le16toh(le16);
        return true;
    case SPECIAL_I32:
        if (!take(in, &le32, sizeof(le32))) {
            return false;
        }
        *out = (int32_t)le32toh(le32);
        return true;
    default:
        return false;
    }
}

static bool read_packed(struct slice *in, struct str *scratch, struct slice *out)
{
    uint64_t packed;
    uint64_t plain;
    if (!rdb_read_len(in, &packed, NULL) || !rdb_read_len(in, &plain, NULL) || packed > in->len ||
        packed > UINT32_MAX || plain > UINT32_MAX || plain > packed * LZF_RATIO_MAX || plain == 0) {
        return false;
    }
    str_clear(scratch);
    char *to = str_reserve(scratch, plain);
    if (lzf_decompress(in->ptr, (unsigned)packed, to, (unsigned)plain) != plain) {
        return false;
    }
    *in = slice_of(in->ptr + packed, in->len - packed);
    *out = slice_of(to, plain);
    return true;
}

bool rdb_read_string(struct slice *in, struct str *scratch, struct slice *out)
{
    uint64_t len;
    bool special;
    if (!rdb_read_len(in, &len, &special)) {
        return false;
    }
    if (special && len == SPECIAL_LZF) {
        return read_packed(in, scratch, out);
    }
    if (special) {
        int64_t number;
        if (!read_int(in, len, &number)) {
            return false;
        }
        str_clear(scratch);
        char *digits = str_reserve(scratch, NUM_I64_MAX_LEN);
        *out = slice_of(digits, num_print_i64(digits, number));
        return true;
    }
    if (len > in->len) {
        return false;
    }
    *out = slice_of(in->ptr, len);
    *in = slice_of(in->ptr + len, in->len - len);
    return true;
}

/* ---- strings ---- */

static void write_string(struct str *to, const struct object *o, bool compress)
{
    char digits[NUM_I64_MAX_LEN];
    rdb_write_string(to, string_bytes(o, digits), compress);
}

static struct object *read_string(struct slice *in, struct slice key, int64_t expire_ms,
                                  struct str *scratch)
{
    /* Numbers go straight to where they are kept, without becoming text on the way. */
    if (in->len > 0 && (unsigned char)in->ptr[0] >> FORM_SHIFT == FORM_SPECIAL &&
        ((unsigned char)in->ptr[0] & 0x3f) <= SPECIAL_I32) {
        int64_t number;
        uint64_t form = (unsigned char)in->ptr[0] & 0x3f;
        *in = slice_of(in->ptr + 1, in->len - 1);
        return read_int(in, form, &number) ? string_new_int(key, expire_ms, number) : NULL;
    }
    struct slice value;
    return rdb_read_string(in, scratch, &value) ? string_new(key, expire_ms, value) : NULL;
}

/* ---- the types: how each form that a value can have in a file is read; NULL: not served ---- */

typedef struct object *read_fn(struct slice *in, struct slice key, int64_t expire_ms,
                               struct str *scratch);

static read_fn *const readers[TYPES] = {
    [RDB_TYPE_STRING] = read_string,
    [RDB_TYPE_HASH] = hash_read_strings,
    [RDB_TYPE_HASH_ZIPMAP] = hash_read_zipmap,
    [RDB_TYPE_HASH_ZIPLIST] = hash_read_ziplist,
    [RDB_TYPE_HASH_LISTPACK] = hash_read_listpack,
    [RDB_TYPE_LIST] = quicklist_read_strings,
    [RDB_TYPE_LIST_ZIPLIST] = quicklist_read_ziplist,
    [RDB_TYPE_LIST_QUICKLIST] = quicklist_read_ziplists,
    [RDB_TYPE_LIST_QUICKLIST_2] = quicklist_read_nodes,
    [RDB_TYPE_SET] = set_read,
    [RDB_TYPE_SET_INTSET] = set_read_intset,
    [RDB_TYPE_STREAM] = xstream_rdb_read,
    [RDB_TYPE_STREAM_2] = xstream_rdb_read_2,
    [RDB_TYPE_ZSET] = zset_read_text,
    [RDB_TYPE_ZSET_2] = zset_read,
    [RDB_TYPE_ZSET_LISTPACK] = zset_read_listpack,
    [RDB_TYPE_ZSET_ZIPLIST] = zset_read_ziplist,
};

unsigned rdb_type_of(const struct object *o)
{
    return o->type == OBJECT_STRING ? RDB_TYPE_STRING : object_types[o->type]->rdb_type(o);
}

bool rdb_is_type(unsigned type)
{
    return type < TYPES && readers[type] != NULL;
}

void rdb_write_value(struct str *to, const struct object *o, bool compress)
{
    if (o->type == OBJECT_STRING) {
        write_string(to, o, compress);
    } else {
        object_types[o->type]->rdb_write(to, o, compress);
    }
}

struct object *rdb_read_value(struct slice *in, unsigned type, struct slice key, int64_t expire_ms,
                              struct str *scratch)
{
    return rdb_is_type(type) ? readers[type](in, key, expire_ms, scratch) : NULL;
}

/* ---- payloads ---- */

void rdb_write_payload(struct str *to, const struct object *o, bool compress)
{
    size_t start = to->len;
    str_append_char(to, (char)rdb_type_of(o));
    rdb_write_value(to, o, compress);
    rdb_write_tail(to, start);
}

void rdb_write_tail(struct str *to, size_t start)
{
    uint16_t version = htole16(RDB_VERSION);
    str_append(to, &version, sizeof(version));
    uint64_t crc = htole64(crc64(0, to->ptr + start, to->len - start));
    str_append(to, &crc, sizeof(crc));
}

bool rdb_check_payload(struct slice *in)
{
    uint16_t version;
    uint64_t crc;
    if (in->len < RDB_PAYLOAD_TAIL) {
        return false;
    }
    memcpy(&version, in->ptr + in->len - RDB_PAYLOAD_TAIL, sizeof(version));
    memcpy(&crc, in->ptr + in->len - sizeof(crc), sizeof(crc));
    if (le16toh(version) > RDB_VERSION ||
        le64toh(crc) != crc64(0, in->ptr, in->len - sizeof(crc))) {
        return false;
    }
    in->len -= RDB_PAYLOAD_TAIL;
    return true;
}
