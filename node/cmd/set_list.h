// SPDX-License-Identifier: BSD-3-Clause
/* Elements of sets, gathered for a reply: they point into the sets, which must not change
 * meanwhile. For the commands on sets only. */
#pragma once

#include "node/cmd/call.h"
#include "node/types/set.h"

#include "common/base/mem.h"

struct set_list {
    struct set_element *of;
    size_t n;
    size_t cap;
};

static inline void set_list_add(struct set_list *l, const struct set_element *e)
{
    if (l->n == l->cap) {
        l->cap = MAX(l->cap * 2, 64U);
        l->of = mem_realloc(l->of, l->cap * sizeof(*l->of));
    }
    l->of[l->n++] = *e;
}

static inline void set_list_fini(struct set_list *l)
{
    mem_free(l->of);
    *l = (struct set_list){0};
}

static inline void reply_element(struct call *c, const struct set_element *e)
{
    if (e->ptr == NULL) {
        resp_bulk_int(&c->w, e->number);
    } else {
        resp_bulk(&c->w, slice_of(e->ptr, e->len));
    }
}

static inline void reply_list(struct call *c, const struct set_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        reply_element(c, &l->of[i]);
    }
}
