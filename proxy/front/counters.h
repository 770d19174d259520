// SPDX-License-Identifier: BSD-3-Clause
/* A worker's plain counters: written by its thread only, read there; totals by workers_ask(). */
#pragma once

#include <stdint.h>

struct counters {
#define COUNTER(field, name, text) uint64_t field;
#include "proxy/front/counters.def"
#undef COUNTER
};
