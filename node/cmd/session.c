// SPDX-License-Identifier: BSD-3-Clause
#include "node/cmd/session.h"

#include "node/cmd/session_priv.h"

#include "common/base/mem.h"
#include "common/cmd/acl.h"

#define MAGIC 0x5e5510e1U

void session_init(struct session *s)
{
    *s = (struct session){.magic = MAGIC, .proto = 2};
    watcher_init(&s->watcher);
}

static void empty_queue(struct session *s)
{
    for (size_t i = 0; i < s->queued; i++) {
        mem_free((void *)(uintptr_t)s->queue[i].argv);
        acl_user_free(&s->queue[i].as);
    }
    mem_free(s->queue);
    s->queue = NULL;
    s->queued = 0;
    s->queue_cap = 0;
    s->queue_bytes = 0;
}

void session_discard(struct session *s, struct keyspace *ks)
{
    CHECK_OBJ(s, MAGIC);
    empty_queue(s);
    s->in_multi = false;
    s->tx_failed = false;
    s->tx_denyoom = false;
    watch_clear(&s->watcher, ks);
}

void session_fini(struct session *s, struct keyspace *ks)
{
    session_discard(s, ks);
    s->magic = 0;
}

void session_tx_failed(struct session *s)
{
    CHECK_OBJ(s, MAGIC);
    s->tx_failed = s->in_multi;
}

/* One allocation for the slices and the bytes behind them. */
void session_queue(struct session *s, const struct command *cmd, const struct slice *argv,
                   size_t argc)
{
    size_t bytes = 0;
    for (size_t i = 0; i < argc; i++) {
        bytes += argv[i].len;
    }
    struct slice *copy = mem_alloc(argc * sizeof(*copy) + bytes);
    char *to = (char *)(copy + argc);
    for (size_t i = 0; i < argc; i++) {
        copy[i] = slice_of(to, argv[i].len);
        if (argv[i].len > 0) {
            memcpy(to, argv[i].ptr, argv[i].len);
        }
        to += argv[i].len;
    }
    if (s->queued == s->queue_cap) {
        s->queue_cap = MAX(s->queue_cap * 2, 8);
        s->queue = mem_realloc(s->queue, s->queue_cap * sizeof(*s->queue));
    }
    s->queue[s->queued++] = (struct queued){
        .cmd = cmd, .as = s->as == NULL ? NULL : acl_user_ref(s->as), .argv = copy, .argc = argc};
    s->queue_bytes += argc * sizeof(*copy) + bytes;
    s->tx_denyoom |= (cmd->flags & CF_DENYOOM) != 0;
}
