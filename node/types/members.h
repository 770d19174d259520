// SPDX-License-Identifier: BSD-3-Clause
/* The members of a large set, hash or sorted set: a hash table whose entries are the owner's, one
 * allocation each. Owned by one value; the node's thread. Pure.
 *
 *   entry      | head bytes of the owner's | length | name | whatever the owner puts behind |
 *   directory  by the top `depth` bits of the hash, of segments of at most 4 KiB
 *   segment    | slots, count, depth | 16 hash bits, 48 address | ... |
 *
 * Within a segment entries stand in the order of their hashes, each at the place that its hash says
 * or as few behind it as the others leave room: a search walks up a few words, a scan is a walk up
 * the hash's values, and its cursor, being a hash, means the same whatever grew or shrank in
 * between. A segment grows by one size of the allocator at a time and splits in two when it is at
 * its largest: no insert moves more than some 500 words. It costs 10 bytes an entry, about.
 *
 * The table neither copies nor measures entries, and frees them only where its owner lets them go
 * bit by bit: each is one allocation. */
#pragma once

#include "common/base/obj.h"
#include "common/base/rng.h"
#include "common/base/slice.h"

struct members;

/* Secret, of all tables that are made from now on: strangers shall not know which names collide. */
void members_set_seed(uint64_t seed);

/* Names stand `head` bytes behind the beginning of an entry. */
struct members *members_new(unsigned head);
/* The table; the entries are the caller's to free before. */
void members_free(struct members **m);

/* Frees some `budget` entries, with what of the table held them; *freed grows by how many. False:
 * none is left. Then, and between, nothing but this and members_free may be called. */
bool members_drain(struct members *m, uint64_t budget, uint64_t *freed);

uint64_t members_count(const struct members *m);
/* Who portrays the value (portrait.h); they are told before each change, but for those of what
 * stands in an entry: members_before. Nobody does while it is drained or freed. */
struct portrait;
struct portrait **members_portraits(struct members *m);
void members_before(const struct members *m, uint64_t hash, const void *entry);
/* Of the table itself, in size classes. */
size_t members_memory(const struct members *m);

uint64_t members_hash(const struct members *m, struct slice name);
/* NULL: none has that name. */
void *members_find(const struct members *m, uint64_t hash, struct slice name);
/* None has its name. */
void members_add(struct members *m, uint64_t hash, void *entry);
/* Gives it back to the caller; NULL: none has that name. */
void *members_take(struct members *m, uint64_t hash, struct slice name);
/* `now` takes the place of `was`, which is in the table, under the same name. */
void members_replace(struct members *m, uint64_t hash, const void *was, void *now);

/* All entries; the table does not change meanwhile. Entries may be freed on the way if the table
 * goes next. {0} begins. */
struct members_walk {
    uint64_t segment;
    uint32_t slot;
};
/* NULL: no more. */
void *members_next(const struct members *m, struct members_walk *w);

/* Any, each as likely. NULL: it is empty. */
void *members_random(const struct members *m, struct rng *rng);

/* One step of a scan: visits at least one entry from `cursor` on, if there is any, and returns the
 * next cursor, 0 behind the last. Who is there from the first step to the last is visited. The
 * visitor changes nothing. */
typedef void members_visit_fn(void *arg, void *entry);
uint64_t members_scan(const struct members *m, uint64_t cursor, members_visit_fn *visit, void *arg);

/* Breaks if anything that must hold does not. Slow; for tests. */
void members_check(const struct members *m);

/* ---- names in entries ---- */

#define MEMBERS_LONG 255 /* the length is in the 8 bytes behind */

static inline size_t member_name_size(size_t len)
{
    return len + (len < MEMBERS_LONG ? 1 : 1 + sizeof(uint64_t));
}

static inline struct slice member_name(const void *entry, unsigned head)
{
    const unsigned char *p = (const unsigned char *)entry + head;
    if (LIKELY(*p < MEMBERS_LONG)) {
        return slice_of((const char *)p + 1, *p);
    }
    uint64_t len;
    memcpy(&len, p + 1, sizeof(len));
    return slice_of((const char *)p + 1 + sizeof(len), len);
}

/* Returns where the bytes behind it begin. */
static inline unsigned char *member_put_name(void *entry, unsigned head, struct slice name)
{
    unsigned char *p = (unsigned char *)entry + head;
    if (LIKELY(name.len < MEMBERS_LONG)) {
        *p++ = (unsigned char)name.len;
    } else {
        uint64_t len = name.len;
        *p++ = MEMBERS_LONG;
        memcpy(p, &len, sizeof(len));
        p += sizeof(len);
    }
    if (name.len > 0) {
        memcpy(p, name.ptr, name.len);
    }
    return p + name.len;
}
