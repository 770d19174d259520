// SPDX-License-Identifier: BSD-3-Clause
/* A connection as CLIENT LIST and CLIENT INFO show it: one line, fields in Redis 7.0's order. */
#pragma once

#include "common/base/str.h"

struct command;
struct stream;

struct client_line {
    uint64_t id;
    const struct stream *stream;
    const char *name; /* NULL: none */
    int64_t since_ms; /* loop time of its coming */
    int64_t now_ms;
    const char *flags; /* "": none, shown as N */
    int db;
    int queued;        /* since MULTI; -1: not in one */
    size_t unread;     /* bytes of requests that wait */
    size_t argv_bytes; /* of the command under way */
    size_t queue_bytes;
    size_t memory;
    bool replying;              /* it has yet to read replies */
    const struct command *last; /* NULL: none yet */
    int proto;
    uint32_t channels; /* that it is subscribed to */
    uint32_t patterns;
    uint32_t shard_channels;
    int64_t redirect; /* who gets its invalidations; 0: itself, -1: it does not track */
    struct slice user;
};

/* Appends the line, with '\n'. */
void client_line(const struct client_line *l, struct str *to);
