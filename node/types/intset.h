// SPDX-License-Identifier: BSD-3-Clause
/* Sorted integers in one block, each as wide as the widest needs, in the format that Redis has in
 * its files: encoding (2, 4 or 8) and count as u32, then the numbers, all little-endian. A set of
 * few integers is one. Pure. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

struct intset;

struct intset *intset_new(void);
void intset_free(struct intset **s);
struct intset *intset_copy(const struct intset *s);
/* Bytes of strangers; NULL: they are none, or none that Redis would take. Empty ones are refused.
 */
struct intset *intset_read(struct slice bytes);
/* As they stand in a file. */
struct slice intset_bytes(const struct intset *s);

size_t intset_count(const struct intset *s);
/* In size classes. */
size_t intset_memory(const struct intset *s);
bool intset_has(const struct intset *s, int64_t v);
/* The i-th smallest. */
int64_t intset_at(const struct intset *s, size_t i);

/* False: it was there (was not there). The set may move. */
bool intset_add(struct intset **s, int64_t v) MUSTCHECK;
bool intset_remove(struct intset **s, int64_t v) MUSTCHECK;
