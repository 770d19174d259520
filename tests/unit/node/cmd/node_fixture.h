// SPDX-License-Identifier: BSD-3-Clause
/* A keyspace with all shards and a client of it, for tests of commands: say() sends a command, what
 * comes back is text in which CRLF is written as a space, and NUL as ^. */
#pragma once

#include "node/cmd/call.h"
#include "node/keyspace/keyspace.h"

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/cmd/slot.h"

#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#define FIXTURE_SHARDS 16
#define FIXTURE_DBS    16
#define FIXTURE_ARGS   4096

struct fixture {
    struct keyspace *ks;
    struct call_table table;
    struct session session;
    struct session other; /* a second client */
    struct rng rng;
    int64_t now_ms;
    struct outbuf out;
    struct str text;
    uint64_t changes;
    uint64_t lane; /* of the commands that are said */
    uint64_t number;
};

static inline void fixture_open(struct fixture *f)
{
    *f = (struct fixture){.now_ms = 1700000000000};
    f->ks = keyspace_new(FIXTURE_SHARDS, FIXTURE_DBS, 42);
    for (int i = 0; i < FIXTURE_SHARDS; i++) {
        keyspace_shard_create(f->ks, i);
    }
    call_table_data(&f->table);
    session_init(&f->session);
    session_init(&f->other);
    rng_init(&f->rng, 7);
}

static inline void fixture_close(struct fixture *f)
{
    session_fini(&f->session, f->ks);
    session_fini(&f->other, f->ks);
    keyspace_free(&f->ks);
    outbuf_fini(&f->out);
    str_fini(&f->text);
}

static inline const char *take_text(struct fixture *f)
{
    str_clear(&f->text);
    while (f->out.bytes > 0) {
        struct iovec iov[16];
        int n = outbuf_iovec(&f->out, iov, 16);
        size_t taken = 0;
        for (int i = 0; i < n; i++) {
            const char *p = iov[i].iov_base;
            for (size_t j = 0; j < iov[i].iov_len; j++) {
                if (p[j] == '\n') {
                    continue;
                }
                str_append_char(&f->text, p[j] == '\r' ? ' ' : p[j] == '\0' ? '^' : p[j]);
            }
            taken += iov[i].iov_len;
        }
        outbuf_consume(&f->out, taken);
    }
    if (f->text.len > 0) {
        f->text.ptr[--f->text.len] = '\0'; /* the last CRLF */
    }
    return str_cstr(&f->text);
}

static inline const char *say_args(struct fixture *f, struct session *s, const struct slice *argv,
                                   size_t argc)
{
    char error[COMMAND_ERROR_MAX];
    const struct command *cmd = command_resolve(argv, argc, error);
    struct call c = {.argv = argv,
                     .argc = argc,
                     .cmd = cmd,
                     .w = {.out = &f->out},
                     .session = s,
                     .ks = f->ks,
                     .rng = &f->rng,
                     .now_ms = f->now_ms,
                     .lane = f->lane,
                     .number = f->number};
    if (cmd == NULL) {
        session_tx_failed(s);
        c.w.proto = s->proto;
        resp_error(&c.w, error);
    } else {
        if (cmd->key_single != 0) { /* as the server does */
            call_prefetch_bucket(&c, cmd->key_single, slot_of(argv[cmd->key_single]));
            call_prefetch_object(&c);
        }
        call_run(&f->table, &c);
    }
    f->changes = c.changes;
    return take_text(f);
}

/* Words parted by one space; "" is an empty one, and \xNN a byte. */
static inline size_t split_words(char *line, struct slice *argv)
{
    size_t n = 0;
    for (char *save, *w = strtok_r(line, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        assert_true(n < FIXTURE_ARGS);
        if (strcmp(w, "\"\"") == 0) {
            argv[n++] = SLICE("");
            continue;
        }
        size_t len = 0;
        for (char *p = w; *p != '\0';) {
            if (p[0] == '\\' && p[1] == 'x') {
                char hex[3] = {p[2], p[3], '\0'};
                w[len++] = (char)strtol(hex, NULL, 16);
                p += 4;
            } else {
                w[len++] = *p++;
            }
        }
        argv[n++] = slice_of(w, len);
    }
    return n;
}

static inline const char *say_as(struct fixture *f, struct session *s, const char *line)
{
    static struct slice argv[FIXTURE_ARGS];
    char *copy = mem_strdup(line);
    size_t argc = split_words(copy, argv);
    const char *reply = say_args(f, s, argv, argc);
    mem_free(copy);
    return reply;
}

static inline const char *say(struct fixture *f, const char *line)
{
    return say_as(f, &f->session, line);
}

#define EXPECT(f, line, reply) assert_string_equal(say(f, line), reply)
