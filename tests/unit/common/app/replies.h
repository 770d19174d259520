// SPDX-License-Identifier: BSD-3-Clause
/* A command line in, the reply's bytes out: for the tests of commands that write through
 * resp_writer. */
#pragma once

#include "common/base/buf.h"
#include "common/base/str.h"
#include "common/resp/write.h"

#define WORDS_MAX 64

struct call {
    struct slice argv[WORDS_MAX];
    size_t argc;
    struct outbuf out;
    struct resp_writer w;
    struct str reply;
};

/* Words apart by single blanks; "''" is an empty one. */
static inline void call_init(struct call *c, int proto, const char *line)
{
    memset(c, 0, sizeof(*c));
    while (*line != '\0') {
        size_t len = strcspn(line, " ");
        bool empty = len == 2 && line[0] == '\'' && line[1] == '\'';
        c->argv[c->argc++] = slice_of(line, empty ? 0 : len);
        line += len + (line[len] == ' ');
    }
    c->w = (struct resp_writer){.out = &c->out, .proto = proto};
}

static inline const char *call_reply(struct call *c)
{
    struct iovec iov[64];
    int n = outbuf_iovec(&c->out, iov, 64);
    for (int i = 0; i < n; i++) {
        str_append(&c->reply, iov[i].iov_base, iov[i].iov_len);
    }
    outbuf_consume(&c->out, c->reply.len);
    return str_cstr(&c->reply);
}

static inline void call_fini(struct call *c)
{
    outbuf_fini(&c->out);
    str_fini(&c->reply);
}
