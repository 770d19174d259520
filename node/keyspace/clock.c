// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/clock.h"

enum {
    COUNTER_START = 5, /* a new key gets some time to prove itself */
    COUNTER_MAX = 255,
};

static inline uint32_t seconds(int64_t now_ms)
{
    return (uint32_t)((uint64_t)now_ms / 1000) & OBJECT_CLOCK_MASK;
}

static inline uint32_t minutes(int64_t now_ms)
{
    return (uint32_t)((uint64_t)now_ms / 60000) & 0xffffU;
}

unsigned clock_frequency(const struct keyspace *ks, const struct object *o, int64_t now_ms)
{
    unsigned counter = o->clock & 0xff;
    unsigned passed = (minutes(now_ms) - (o->clock >> 8)) & 0xffffU;
    unsigned lost =
        ks->settings.lfu_decay_time > 0 ? passed / (unsigned)ks->settings.lfu_decay_time : 0;
    return lost > counter ? 0 : counter - lost;
}

static unsigned counted(struct keyspace *ks, unsigned counter)
{
    if (counter == COUNTER_MAX) {
        return counter;
    }
    unsigned above = counter > COUNTER_START ? counter - COUNTER_START : 0;
    uint64_t odds = (uint64_t)above * (unsigned)MAX(ks->settings.lfu_log_factor, 0) + 1;
    ks->sampling = ks->sampling * 6364136223846793005ULL + 1442695040888963407ULL;
    return counter + ((ks->sampling >> 33) % odds == 0);
}

void clock_start(struct keyspace *ks, struct object *o, int64_t now_ms)
{
    o->clock = (ks->settings.lfu ? minutes(now_ms) << 8 | COUNTER_START : seconds(now_ms)) &
               OBJECT_CLOCK_MASK;
}

void clock_touch(struct keyspace *ks, struct object *o, int64_t now_ms)
{
    if (UNLIKELY(ks->settings.lfu)) {
        unsigned counter = counted(ks, clock_frequency(ks, o, now_ms));
        o->clock = (minutes(now_ms) << 8 | counter) & OBJECT_CLOCK_MASK;
        return;
    }
    uint32_t now = seconds(now_ms);
    if (o->clock != now) {
        o->clock = now & OBJECT_CLOCK_MASK;
    }
}

int64_t clock_idle_s(const struct object *o, int64_t now_ms)
{
    return (seconds(now_ms) - o->clock) & OBJECT_CLOCK_MASK;
}

void clock_set_idle(const struct keyspace *ks, struct object *o, int64_t now_ms, int64_t idle_s)
{
    if (!ks->settings.lfu) {
        int64_t idle = MIN(idle_s, (int64_t)OBJECT_CLOCK_MASK / 2);
        o->clock = (seconds(now_ms) - (uint32_t)idle) & OBJECT_CLOCK_MASK;
    }
}

void clock_set_frequency(const struct keyspace *ks, struct object *o, int64_t now_ms,
                         unsigned frequency)
{
    if (ks->settings.lfu) {
        o->clock = (minutes(now_ms) << 8 | MIN(frequency, COUNTER_MAX + 0U)) & OBJECT_CLOCK_MASK;
    }
}
