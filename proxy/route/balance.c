// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/route/balance.h"

#include "common/base/obj.h"

#include <math.h>

#define CHANCE_ONE   (1u << 24)
#define CHANCE_LEAST (1.0 / 32)
#define TOLD_MIN     50u /* percent of the average: what is believed of a single interval */
#define TOLD_MAX     200u

/* As seen from here. One more than in flight: what it would be with this request, and idle ones
 * still differ. */
static double load_seen(const struct balance_choice *c)
{
    return ((double)c->in_flight + 1) * MAX(c->latency_us, 1u);
}

/* What heartbeats told is of an interval that has passed, and came of these very choices: answered
 * in full, a node would be avoided in one interval and flooded in the next. Chances as its square
 * root halve a deviation from interval to interval. */
static double load_told(const struct balance_choice *c)
{
    uint32_t percent = c->load_percent == 0 ? 100 : c->load_percent;
    return sqrt(MIN(MAX(percent, TOLD_MIN), TOLD_MAX));
}

static int pick_weighted(const struct balance_choice *choices, int n, struct rng *rng)
{
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        sum += choices[i].weight;
    }
    if (sum == 0) {
        return 0;
    }
    uint64_t at = rng_below(rng, sum);
    for (int i = 0; i < n; i++) {
        if (at < choices[i].weight) {
            return i;
        }
        at -= choices[i].weight;
    }
    return 0;
}

/* Of two random ones each with a chance inverse to the square of its load as seen: nearly as even
 * as the best of all, without the herd that runs to whoever was idle a moment ago; and one that was
 * slow once still gets some, else nobody would ever learn that it is no longer. */
static int pick_of_two(const struct balance_choice *choices, int n, struct rng *rng)
{
    int a = (int)rng_below(rng, (uint64_t)n);
    int b = (int)rng_below(rng, (uint64_t)n - 1);
    if (b >= a) {
        b++;
    }
    double seen = load_seen(&choices[a]) / load_seen(&choices[b]);
    double told = load_told(&choices[a]) / load_told(&choices[b]);
    double chance_a = 1.0 / (1.0 + seen * seen * told);
    chance_a = MIN(MAX(chance_a, CHANCE_LEAST), 1.0 - CHANCE_LEAST);
    return (double)rng_below(rng, CHANCE_ONE) < chance_a * CHANCE_ONE ? a : b;
}

int balance_pick(enum read_from how, const struct balance_choice *choices, int n, struct rng *rng,
                 uint32_t *turn)
{
    INVARIANT(n >= 1);
    if (n == 1) {
        return 0;
    }
    switch (how) {
    case READ_LEAST_LOADED:
        return pick_of_two(choices, n, rng);
    case READ_ROUND_ROBIN:
        return (int)((*turn)++ % (uint32_t)n);
    case READ_WEIGHTED:
        return pick_weighted(choices, n, rng);
    case READ_PRIMARY:
        return 0;
    }
    return 0;
}
