// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static void print_to_stderr(void *arg, enum log_level level, const char *area, const char *text)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "%s %s\n", area, text);
}

/* The sink is set at start-up, before other threads run; the atomics make a late change harmless.
 */
static _Atomic log_sink_fn the_sink = print_to_stderr;
static void *_Atomic the_arg;
static _Atomic int the_level = LOG_NOTICE;

void log_set_sink(log_sink_fn sink, void *arg)
{
    atomic_store(&the_arg, arg);
    atomic_store(&the_sink, sink == NULL ? print_to_stderr : sink);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&the_level, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&the_level, memory_order_relaxed);
}

void log_event(enum log_level level, const char *area, const char *fmt, ...)
{
    if (level < log_level() || level >= LOG_NOTHING) {
        return;
    }
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (len >= (int)sizeof text) {
        memcpy(text + sizeof text - 4, "...", 4);
    }
    /* A name that a peer chose must not forge lines or drive a terminal. */
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7F) {
            *c = '?';
        }
    }
    atomic_load (&the_sink)(atomic_load(&the_arg), level, area, text);
}
