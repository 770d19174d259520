// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/ticks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define SCALE_ONE          (UINT64_C(1) << 24)
#define FIRST_STRETCH_NS   2000000
#define LONGEST_STRETCH_NS (INT64_C(3600) * 1000000000)

/* The counter runs at one rate whatever the power state ("invariant TSC"). */
static bool counter_is_steady(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & (1U << 8)) != 0;
#else
    return false;
#endif
}

static void begin_stretch(struct ticks_scale *s)
{
    s->from_ns = ticks_monotonic_ns();
    s->from_ticks = ticks_now(s);
}

void ticks_scale_update(struct ticks_scale *s)
{
    if (!s->counter) {
        return;
    }
    int64_t ns = ticks_monotonic_ns() - s->from_ns;
    uint64_t now = ticks_now(s);
    uint64_t ticks = now - s->from_ticks;
    /* A counter that stood still or went back (a guest that was moved) starts anew. */
    if (now <= s->from_ticks || ns <= 0) {
        begin_stretch(s);
        return;
    }
    s->factor = (uint64_t)(((unsigned __int128)ns << 24) / ticks);
    if (ns > LONGEST_STRETCH_NS) {
        begin_stretch(s);
    }
}

void ticks_scale_init(struct ticks_scale *s)
{
    s->counter = counter_is_steady();
    s->factor = SCALE_ONE;
    begin_stretch(s);
    while (s->counter && ticks_monotonic_ns() - s->from_ns < FIRST_STRETCH_NS) {
    }
    ticks_scale_update(s);
}
