// SPDX-License-Identifier: BSD-3-Clause
/* One line per event: area, what happened, key=value. The sink is a function, so that pure code can
 * log and the simulator can listen. State changes at info; a client's mistakes never above debug.
 * Values, keys' contents and secrets never go into a line. Any thread. */
#pragma once

#include "common/base/obj.h"

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };

/* `text` is the whole event without time and level: "coordinator node is dead node=ab12 epoch=7".
 */
typedef void (*log_sink_fn)(void *arg, enum log_level level, const char *area, const char *text);

void log_set_sink(log_sink_fn sink, void *arg);
void log_set_level(enum log_level level);
enum log_level log_level(void);
void log_event(enum log_level level, const char *area, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define LOG_DEBUG_EVENT(area, ...)                                                                 \
    do {                                                                                           \
        if (UNLIKELY(log_level() <= LOG_DEBUG)) {                                                  \
            log_event(LOG_DEBUG, area, __VA_ARGS__);                                               \
        }                                                                                          \
    } while (0)
