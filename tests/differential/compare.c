// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/compare.h"

#include "common/base/num.h"
#include "common/resp/value.h"

#include <math.h>
#include <stdlib.h>

#define ABOUT_MAX 60000 /* how far numbers may be apart that tell of times, in milliseconds */

static int order_text(struct slice a, struct slice b)
{
    int by_bytes = a.len == 0 || b.len == 0 ? 0 : memcmp(a.ptr, b.ptr, MIN(a.len, b.len));
    return by_bytes != 0 || a.len == b.len ? by_bytes : a.len < b.len ? -1 : 1;
}

static int order(const struct resp_value *a, const struct resp_value *b)
{
    if (a->type != b->type) {
        return a->type < b->type ? -1 : 1;
    }
    int by_text = order_text(a->text, b->text);
    if (by_text != 0) {
        return by_text;
    }
    if (a->number != b->number) {
        return a->number < b->number ? -1 : 1;
    }
    if (a->count != b->count) {
        return a->count < b->count ? -1 : 1;
    }
    for (size_t i = 0; i < a->count; i++) {
        int by_item = order(&a->items[i], &b->items[i]);
        if (by_item != 0) {
            return by_item;
        }
    }
    return 0;
}

static int order_items(const void *a, const void *b)
{
    return order(a, b);
}

static int order_pairs(const void *a, const void *b)
{
    const struct resp_value *x = a;
    const struct resp_value *y = b;
    int by_first = order(x, y);
    return by_first != 0 ? by_first : order(x + 1, y + 1);
}

static bool has_items(const struct resp_value *v)
{
    return v->type == RESP_ARRAY || v->type == RESP_MAP || v->type == RESP_SET;
}

/* Of the same elements, whatever their order; step 2 for pairs. */
static bool same_elements(struct resp_value *a, struct resp_value *b, size_t step)
{
    if (a->type != b->type || a->count != b->count || !has_items(a) || a->count % step != 0) {
        return order(a, b) == 0;
    }
    if (a->count > 0) {
        int (*by)(const void *, const void *) = step == 2 ? order_pairs : order_items;
        qsort(a->items, a->count / step, step * sizeof(*a->items), by);
        qsort(b->items, b->count / step, step * sizeof(*b->items), by);
    }
    return order(a, b) == 0;
}

static bool about(const struct resp_value *a, const struct resp_value *b)
{
    if (a->type != b->type || a->count != b->count) {
        return false;
    }
    if (a->type == RESP_INT) {
        return llabs((long long)(a->number - b->number)) <= ABOUT_MAX;
    }
    if (!has_items(a) && a->type != RESP_PUSH) {
        return order(a, b) == 0;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!about(&a->items[i], &b->items[i])) {
            return false;
        }
    }
    return true;
}

static bool complete(const struct resp_value *v)
{
    return v->type == RESP_ARRAY && v->count == 2 && slice_is(v->items[0].text, "0");
}

static bool agree(enum mode mode, struct resp_value *a, struct resp_value *b)
{
    switch (mode) {
    case MODE_SET:
        return same_elements(a, b, 1);
    case MODE_PAIRS:
        return same_elements(a, b, 2);
    case MODE_ABOUT:
        return about(a, b);
    case MODE_KIND:
        return (a->type == RESP_ERR) == (b->type == RESP_ERR);
    case MODE_CURSOR:
        if (a->type == RESP_ERR || b->type == RESP_ERR) {
            return order(a, b) == 0;
        }
        return !complete(a) || !complete(b) || same_elements(&a->items[1], &b->items[1], 1);
    case MODE_SAME:
    default:
        return false;
    }
}

bool replies_agree(enum mode mode, struct slice a, struct slice b)
{
    if (slice_eq(a, b)) {
        return true;
    }
    if (mode == MODE_SAME) {
        return false;
    }
    struct resp_value *x = resp_value_parse(a);
    struct resp_value *y = resp_value_parse(b);
    bool same = x != NULL && y != NULL && agree(mode, x, y);
    resp_value_free(&x);
    resp_value_free(&y);
    return same;
}
