// SPDX-License-Identifier: BSD-3-Clause
/* HyperLogLogs: how many different elements were added, within 0.81 %, in at most 12 KiB. They are
 * strings, laid out as Redis lays them out, byte for byte, so that they may be read and written by
 * either with GET and SET:
 *
 *   "HYLL" | encoding: 0 dense, 1 sparse | 3 bytes | count, u64 le, top bit: to be counted anew |
 * registers dense   16384 registers of 6 bits, the first in the lowest bits of the first byte
 *   sparse  00llllll: l + 1 registers are 0 | 01llllll llllllll: l + 1 are 0 | 1vvvvvll: l + 1 are
 * v + 1
 *
 * Sparse ones become dense when they get longer than the caller allows, or a register above 32.
 * Clients may have written any bytes: whatever they are, they are refused or understood. Pure. */
#pragma once

#include "node/types/object.h"

#include "common/base/slice.h"

#define HLL_REGISTERS  16384
#define HLL_MAX_VALUE  51 /* of a register: 50 bits of the hash, and one */
#define HLL_DENSE_SIZE (16 + HLL_REGISTERS * 6 / 8)
#define HLL_CACHE_AT   8 /* where the count stands in the value */
#define HLL_SPARSE_ANY SIZE_MAX

/* Registers, a byte each. */
struct hll_registers {
    unsigned char of[HLL_REGISTERS];
};

enum hll_result {
    HLL_SAME,
    HLL_CHANGED,
    HLL_BROKEN, /* its sparse registers are no such thing; it may have changed before that was seen
                 */
};

/* A string object that begins as a HyperLogLog does. What stands behind is found out on the way. */
bool hll_is(const struct object *o) MUSTCHECK;
/* Of any bytes that hll_is is true for. */
bool hll_is_dense(struct slice value);

/* An empty one. */
struct object *hll_new(struct slice key, int64_t expire_ms);
/* The following change *o, which may move. `sparse_max`: bytes; above it becomes dense. Changes
 * leave the kept count as it is; hll_forget_count. */
enum hll_result hll_add(struct object **o, struct slice element, size_t sparse_max) MUSTCHECK;
/* Raises registers to at least what is given. */
enum hll_result hll_raise(struct object **o, const struct hll_registers *r,
                          size_t sparse_max) MUSTCHECK;
/* HLL_CHANGED: it was sparse. */
enum hll_result hll_make_dense(struct object **o) MUSTCHECK;
/* Says that the count is to be made anew. */
void hll_forget_count(struct object **o);
void hll_keep_count(struct object **o, uint64_t count);

/* The count, if it is kept. */
bool hll_kept_count(struct slice value, uint64_t *count) MUSTCHECK;
/* False: its registers are broken. */
bool hll_count(struct slice value, uint64_t *count) MUSTCHECK;
uint64_t hll_count_registers(const struct hll_registers *r);
/* Raises *r to at least the registers of the value. False: they are broken. */
bool hll_read(struct slice value, struct hll_registers *r) MUSTCHECK;

/* One run of a sparse one (PFDEBUG DECODE), from *at on, which begins at 0; `value` 0: zeros.
 * False: that was the last. */
struct hll_run {
    unsigned value;
    unsigned len;
    bool wide; /* the form of two bytes */
};
bool hll_run_next(struct slice value, size_t *at, struct hll_run *out) MUSTCHECK;
