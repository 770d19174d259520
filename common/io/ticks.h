// SPDX-License-Identifier: BSD-3-Clause
/* A clock cheap enough to be read after every command: the processor's counter where it runs at one
 * rate on all cores (about 10 ns a read), CLOCK_MONOTONIC otherwise (about 25 ns).
 *
 * Ticks have no unit; ticks_scale turns differences into nanoseconds. It is measured against
 * CLOCK_MONOTONIC, over a longer stretch each time ticks_scale_update is called. Any thread may
 * read; a scale belongs to one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

struct ticks_scale {
    bool counter;    /* the processor's counter is used */
    uint64_t factor; /* nanoseconds a tick, times 2^24 */
    uint64_t from_ticks;
    int64_t from_ns;
};

static inline int64_t ticks_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Microseconds since 1970, read now: for log lines, MONITOR and TIME. All else goes by
 * loop_wall_ms. */
static inline int64_t ticks_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline uint64_t ticks_now(const struct ticks_scale *s)
{
#if defined(__x86_64__)
    if (s->counter) {
        return __rdtsc();
    }
#endif
    (void)s;
    return (uint64_t)ticks_monotonic_ns();
}

static inline uint64_t ticks_to_ns(const struct ticks_scale *s, uint64_t ticks)
{
    return (uint64_t)(((unsigned __int128)ticks * s->factor) >> 24);
}

/* Microseconds of processor time that the calling thread has had. */
static inline int64_t ticks_thread_cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Finds out what the machine offers; takes about two milliseconds. */
void ticks_scale_init(struct ticks_scale *s);
/* Once a second or so. */
void ticks_scale_update(struct ticks_scale *s);
