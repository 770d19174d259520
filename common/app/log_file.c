// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/log_file.h"

#include "common/base/mem.h"
#include "common/io/ticks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

struct log_file {
    int fd;
    enum log_file_format format;
    char *path;
};

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "verbose", "notice", "warning", "nothing"};
    return (size_t)level < ARRAY_LEN(names) ? names[level] : "unknown";
}

static void print_time(char *to, size_t size)
{
    int64_t now_us = ticks_wall_us();
    time_t now_s = (time_t)(now_us / 1000000);
    struct tm tm;
    char seconds[32];
    (void)gmtime_r(&now_s, &tm);
    (void)strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(to, size, "%s.%03dZ", seconds, (int)(now_us / 1000 % 1000));
}

/* `text` within a JSON string; returns the end. log_event left no control characters in it. */
static char *put_json(char *to, const char *end, const char *text)
{
    for (; *text != '\0' && end - to > 2; text++) {
        if (*text == '"' || *text == '\\') {
            *to++ = '\\';
        }
        *to++ = *text;
    }
    *to = '\0';
    return to;
}

static size_t format_json(char *line, size_t size, const char *time, enum log_level level,
                          const char *area, const char *text)
{
    /* Room for the closing quote, brace and newline is kept. */
    const char *end = line + size - 8;
    int n = snprintf(line, size, "{\"time\":\"%s\",\"pid\":%d,\"level\":\"%s\",\"area\":\"", time,
                     (int)getpid(), log_level_name(level));
    char *at = put_json(line + n, end - 64, area);
    at += snprintf(at, (size_t)(line + size - at), "\",\"event\":\"");
    at = put_json(at, end, text);
    at += snprintf(at, (size_t)(line + size - at), "\"}\n");
    return (size_t)(at - line);
}

static size_t format_text(char *line, size_t size, const char *time, enum log_level level,
                          const char *area, const char *text)
{
    int n = snprintf(line, size, "%d:%s %s %s %s", (int)getpid(), time, log_level_name(level), area,
                     text);
    size_t len = (size_t)n < size - 1 ? (size_t)n : size - 2;
    line[len] = '\n';
    return len + 1;
}

static void write_line(void *arg, enum log_level level, const char *area, const char *text)
{
    struct log_file *l = arg;
    char time[64];
    char line[LINE_MAX_BYTES];
    print_time(time, sizeof(time));
    size_t len = l->format == LOG_FILE_JSON
                     ? format_json(line, sizeof(line), time, level, area, text)
                     : format_text(line, sizeof(line), time, level, area, text);
    /* A full disk must not stop the program, and there is nowhere to say so. */
    ssize_t n = write(l->fd, line, len);
    (void)n;
}

static int open_path(const char *path, struct errmsg *err)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        errmsg_set(err, "can't open the log file '%s': %s", path, strerror(errno));
    }
    return fd;
}

struct log_file *log_file_open(const char *path, enum log_file_format format, struct errmsg *err)
{
    int fd = path[0] == '\0' ? STDOUT_FILENO : open_path(path, err);
    if (fd < 0) {
        return NULL;
    }
    struct log_file *l = mem_alloc(sizeof(*l));
    l->fd = fd;
    l->format = format;
    l->path = mem_strdup(path);
    log_set_sink(write_line, l);
    return l;
}

bool log_file_reopen(struct log_file *l, struct errmsg *err)
{
    if (l->path[0] == '\0') {
        return true;
    }
    int fd = open_path(l->path, err);
    if (fd < 0) {
        return false;
    }
    /* The number stays, so that threads that are logging need no lock. */
    bool ok = dup3(fd, l->fd, O_CLOEXEC) >= 0;
    if (!ok) {
        errmsg_set(err, "can't replace the log file '%s': %s", l->path, strerror(errno));
    }
    close(fd);
    return ok;
}

void log_file_close(struct log_file **lp)
{
    struct log_file *l = *lp;
    *lp = NULL;
    if (l == NULL) {
        return;
    }
    log_set_sink(NULL, NULL);
    if (l->path[0] != '\0') {
        close(l->fd);
    }
    mem_free(l->path);
    mem_free(l);
}

int log_file_fd(const struct log_file *l)
{
    return l == NULL ? STDERR_FILENO : l->fd;
}
