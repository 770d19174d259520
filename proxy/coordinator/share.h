// SPDX-License-Identifier: BSD-3-Clause
/* Dividing a whole number of things among takers by weight, in whole numbers. Pure. */
#pragma once

#include "common/base/obj.h"

#include <stdbool.h>

struct taker {
    double weight; /* 0: gets its lower bound */
    int lower;
    int upper; /* lower <= upper */
    int has;   /* now: who has more than its share rounded down is first to have it rounded up */
    int share; /* result */
};

/* Each taker's share is proportional to its weight, within its bounds, rounded down or up; together
 * they are `total`, or as near as the bounds let it be. */
void share_out(struct taker *t, int n, int total);
