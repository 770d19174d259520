// SPDX-License-Identifier: BSD-3-Clause
/* Where log lines go: standard output or a file that is appended to; as text or JSON.
 *
 *   4711:2025-11-03T10:20:30.456Z notice coordinator node is dead node=ab12 epoch=7
 *   {"time":"2025-11-03T10:20:30.456Z","pid":4711,"level":"notice","area":"coordinator","event":"..."}
 *
 * One write a line, so lines of several threads and processes do not mix. Any thread may log;
 * opening and closing is main's. */
#pragma once

#include "common/base/err.h"
#include "common/base/log.h"

#include <stdbool.h>

struct log_file;
enum log_file_format { LOG_FILE_TEXT, LOG_FILE_JSON };

/* Makes it the program's sink (log_set_sink). `path` "" is standard output. NULL with err. */
struct log_file *log_file_open(const char *path, enum log_file_format format, struct errmsg *err);
/* Opens the path again, after it was moved away (SIGHUP). The old file stays in use if it can't. */
bool log_file_reopen(struct log_file *l, struct errmsg *err) MUSTCHECK;
/* Back to standard error. */
void log_file_close(struct log_file **l);
/* For the crash report. */
int log_file_fd(const struct log_file *l);
const char *log_level_name(enum log_level level);
