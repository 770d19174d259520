// SPDX-License-Identifier: BSD-3-Clause
/* The slow log: the newest commands that took long, and SLOWLOG GET, LEN, RESET, HELP over it.
 *
 * One thread owns it. A program with several workers lets each make its entries and mail them to
 * the owner (slowlog_entry_new, slowlog_push). Arguments are shortened as Redis does: 32 of them,
 * 128 bytes each; what must not be seen is replaced by the caller ("(redacted)") before. */
#pragma once

#include "common/resp/write.h"

struct slowlog;
struct slowlog_entry;

struct slowlog *slowlog_new(void);
void slowlog_free(struct slowlog **s);

/* slowlog-log-slower-than: microseconds, negative: nothing is logged, 0: everything. */
void slowlog_set_threshold(struct slowlog *s, int64_t us);
/* slowlog-max-len; what is too many goes when the next one comes. */
void slowlog_set_len_max(struct slowlog *s, int64_t entries);

/* Whether a command of so many microseconds belongs into it, for a threshold. */
static inline bool slowlog_wants(int64_t threshold_us, int64_t us)
{
    return threshold_us >= 0 && us >= threshold_us;
}

/* Logs the command if it took long enough. */
void slowlog_add(struct slowlog *s, int64_t wall_ms, int64_t us, const struct slice *argv,
                 size_t argc, const char *peer, struct slice client_name);

/* An entry that is nobody's yet, without its number; then handed over. Any thread. */
struct slowlog_entry *slowlog_entry_new(int64_t wall_ms, int64_t us, const struct slice *argv,
                                        size_t argc, const char *peer, struct slice client_name);
void slowlog_entry_free(struct slowlog_entry **e);
/* Takes the entry, gives it its number. */
void slowlog_push(struct slowlog *s, struct slowlog_entry *e);

size_t slowlog_len(const struct slowlog *s);
void slowlog_reset(struct slowlog *s);

/* argv[0] is SLOWLOG; argc >= 1. */
void slowlog_command(struct slowlog *s, const struct slice *argv, size_t argc,
                     struct resp_writer *w);
