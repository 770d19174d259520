// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/coordinator/share.h"

#include "common/base/mem.h"

#include <math.h>

#define NEARLY   1e-6 /* what arithmetic may lose: 42.9999999 shards are 43 */
#define HALVINGS 200

static double share_at(const struct taker *t, double level)
{
    return fmin(fmax(t->weight * level, t->lower), t->upper);
}

/* The level (things per unit of weight) at which the shares add up to `total`. */
static double find_level(const struct taker *t, int n, int total)
{
    double high = 1;
    for (int i = 0; i < n; i++) {
        if (t[i].weight > 0) {
            high = fmax(high, (t[i].upper + 1.0) / t[i].weight);
        }
    }
    double low = 0;
    for (int step = 0; step < HALVINGS; step++) {
        double middle = (low + high) / 2;
        double sum = 0;
        for (int i = 0; i < n; i++) {
            sum += share_at(&t[i], middle);
        }
        if (sum < total) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high;
}

/* Which of two should rather get one more: one that would have to give it away otherwise, then the
 * one that lost more by rounding down, then the earlier. */
static bool wants_more(const struct taker *a, double rest_a, const struct taker *b, double rest_b)
{
    bool keeps_a = a->has > a->share;
    bool keeps_b = b->has > b->share;
    if (keeps_a != keeps_b) {
        return keeps_a;
    }
    return rest_a > rest_b + NEARLY;
}

/* One more for the taker that wants it most; false: nobody may have more. */
static bool give_one(struct taker *t, double *rest, int n)
{
    int best = -1;
    bool best_due = false;
    for (int i = 0; i < n; i++) {
        if (t[i].share >= t[i].upper || t[i].weight <= 0) {
            continue;
        }
        bool due = rest[i] > NEARLY;
        if (best < 0 || due > best_due ||
            (due == best_due && wants_more(&t[i], rest[i], &t[best], rest[best]))) {
            best = i;
            best_due = due;
        }
    }
    if (best < 0) {
        return false;
    }
    t[best].share++;
    rest[best] -= 1;
    return true;
}

/* One less for the taker that is furthest above what it is due. */
static bool take_one(struct taker *t, double *rest, int n)
{
    int best = -1;
    for (int i = 0; i < n; i++) {
        if (t[i].share > t[i].lower && (best < 0 || rest[i] < rest[best] - NEARLY)) {
            best = i;
        }
    }
    if (best < 0) {
        return false;
    }
    t[best].share--;
    rest[best] += 1;
    return true;
}

void share_out(struct taker *t, int n, int total)
{
    double level = find_level(t, n, total);
    double *rest = mem_zalloc(sizeof(*rest) * (size_t)MAX(n, 1));
    int sum = 0;
    for (int i = 0; i < n; i++) {
        INVARIANT(t[i].lower <= t[i].upper);
        double due = share_at(&t[i], level);
        t[i].share = (int)floor(due + NEARLY);
        rest[i] = due - t[i].share;
        sum += t[i].share;
    }
    while (sum < total && give_one(t, rest, n)) {
        sum++;
    }
    while (sum > total && take_one(t, rest, n)) {
        sum--;
    }
    mem_free(rest);
}
