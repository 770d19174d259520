// SPDX-License-Identifier: BSD-3-Clause
/* Sets: sorted integers in one block while they are few and nothing else is among them, else a
 * table of members. A set never goes back to integers. Pure. */
#pragma once

#include "node/types/object.h"

#include "common/base/num.h"
#include "common/base/rng.h"

/* An element: bytes, or a number that stands for its digits. */
struct set_element {
    const char *ptr; /* NULL: the number */
    size_t len;
    int64_t number;
};

static inline struct slice set_element_text(const struct set_element *e,
                                            char digits[NUM_I64_MAX_LEN])
{
    return e->ptr != NULL ? slice_of(e->ptr, e->len)
                          : slice_of(digits, num_print_i64(digits, e->number));
}

/* Empty: to be filled before anybody sees it. */
struct object *set_new(struct slice key);
size_t set_count(const struct object *o);
bool set_has(const struct object *o, struct slice member);
/* An element of another set. */
bool set_has_element(const struct object *o, const struct set_element *e);
bool set_is_integers(const struct object *o);

/* False: it was there. */
bool set_add(struct object *o, struct slice member);
bool set_add_element(struct object *o, const struct set_element *e);
/* False: it was not there. The last one leaves an empty set. */
bool set_remove(struct object *o, struct slice member);

/* All elements, integers in their order; nothing changes meanwhile. {0} begins. */
struct set_walk {
    uint64_t segment;
    uint32_t slot;
};
bool set_next(const struct object *o, struct set_walk *w, struct set_element *out);
/* Any, each as likely. It is not empty. */
struct set_element set_random(const struct object *o, struct rng *rng);
/* One step of SSCAN, as members_scan; of integers all at once. */
typedef void set_visit_fn(void *arg, const struct set_element *e);
uint64_t set_scan(const struct object *o, uint64_t cursor, set_visit_fn *visit, void *arg);

struct str;
struct object_ops;
extern const struct object_ops set_ops;

/* Forms of files: strings, or a block of integers. NULL: malformed. */
struct object *set_read(struct slice *in, struct slice key, int64_t expire_ms,
                        struct str *scratch) MUSTCHECK;
struct object *set_read_intset(struct slice *in, struct slice key, int64_t expire_ms,
                               struct str *scratch) MUSTCHECK;
