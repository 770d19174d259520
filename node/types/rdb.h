// SPDX-License-Identifier: BSD-3-Clause
/* Values as bytes: Redis's RDB encoding, version 10 (Redis 7.0). DUMP, RESTORE, snapshots, copies
 * of shards and dump.rdb all use it, so a value written by one is read by all, and by Redis.
 *
 *   length   00llllll | 01llllll l | 0x80 u32 be | 0x81 u64 be       11eeeeee: a special string
 *   string   length, bytes | 0xC0 i8 | 0xC1 i16 | 0xC2 i32 (le) | 0xC3 length(packed) length(plain)
 * LZF value    by its type byte; a type of values is one row of the table in rdb.c payload  type
 * byte, value, u16 le version, u64 le CRC64 of all before it (DUMP)
 *
 * Readers take bytes of strangers: whatever these are, they are refused or understood, nothing is
 * allocated that they only claim to hold. Pure. */
#pragma once

#include "node/types/object.h"

#include "common/base/str.h"

#define RDB_VERSION           10
#define RDB_PAYLOAD_TAIL      10  /* version and CRC behind a payload */
#define RDB_COMPRESS_MIN      21  /* shorter strings are never packed */
#define RDB_OPCODE_SLOT_INFO  244 /* kinds of entries in a file, beside the types of values */
#define RDB_OPCODE_FUNCTION2  245
#define RDB_OPCODE_FUNCTION   246
#define RDB_OPCODE_MODULE_AUX 247
#define RDB_OPCODE_IDLE       248
#define RDB_OPCODE_FREQ       249
#define RDB_OPCODE_AUX        250
#define RDB_OPCODE_RESIZEDB   251
#define RDB_OPCODE_EXPIRE_MS  252
#define RDB_OPCODE_EXPIRE_S   253
#define RDB_OPCODE_SELECTDB   254
#define RDB_OPCODE_EOF        255

/* Forms of values, by their type byte. */
#define RDB_TYPE_STRING           0
#define RDB_TYPE_LIST             1
#define RDB_TYPE_SET              2
#define RDB_TYPE_ZSET             3 /* scores as text */
#define RDB_TYPE_HASH             4
#define RDB_TYPE_ZSET_2           5 /* scores as doubles */
#define RDB_TYPE_HASH_ZIPMAP      9
#define RDB_TYPE_LIST_ZIPLIST     10
#define RDB_TYPE_SET_INTSET       11
#define RDB_TYPE_ZSET_ZIPLIST     12
#define RDB_TYPE_HASH_ZIPLIST     13
#define RDB_TYPE_LIST_QUICKLIST   14 /* of ziplists */
#define RDB_TYPE_STREAM           15
#define RDB_TYPE_HASH_LISTPACK    16
#define RDB_TYPE_ZSET_LISTPACK    17
#define RDB_TYPE_LIST_QUICKLIST_2 18 /* of listpacks and plain ones */
#define RDB_TYPE_STREAM_2         19

/* ---- writing: appends to `to` ---- */

void rdb_write_len(struct str *to, uint64_t len);
/* The shortest form: an integer where it is one, packed if `compress` and worth it. */
void rdb_write_string(struct str *to, struct slice v, bool compress);
/* Its type byte. */
unsigned rdb_type_of(const struct object *o);
/* The value behind the type byte. */
void rdb_write_value(struct str *to, const struct object *o, bool compress);
/* The whole payload of DUMP. */
void rdb_write_payload(struct str *to, const struct object *o, bool compress);

/* Version and CRC behind a payload that begins at `start`. */
void rdb_write_tail(struct str *to, size_t start);

/* ---- reading: takes from the front of `in`; false (or NULL) says that it is malformed, or ends
 * too early, and leaves `in` anywhere ---- */

bool rdb_read_byte(struct slice *in, unsigned *out) MUSTCHECK;
/* `special`: one of the forms of strings that are no plain bytes; *len is its number. NULL: that is
 * malformed too. */
bool rdb_read_len(struct slice *in, uint64_t *len, bool *special) MUSTCHECK;
/* The bytes, in `in` itself or made in `scratch`, whose content is lost. */
bool rdb_read_string(struct slice *in, struct str *scratch, struct slice *out) MUSTCHECK;
/* An object under that key. `scratch` as above. NULL also for a type that this version does not
 * serve. */
struct object *rdb_read_value(struct slice *in, unsigned type, struct slice key, int64_t expire_ms,
                              struct str *scratch) MUSTCHECK;
/* Whether it is a type of values at all. */
bool rdb_is_type(unsigned type);

/* A payload whose version and CRC are right; *in becomes type byte and value. */
bool rdb_check_payload(struct slice *in) MUSTCHECK;
