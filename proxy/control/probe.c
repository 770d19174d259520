// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/control/probe.h"

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/stream.h"

#include <errno.h>

#define PROBE_MS 1000

struct probe {
    struct list link;
    struct probes *all;
    struct stream *stream;
    char id[NODE_ID_LEN + 1];
};

struct probes {
    struct loop *loop;
    probe_fn fn;
    void *arg;
    struct list probes;
};

static void drop(struct probe *p)
{
    list_remove(&p->link);
    stream_free(&p->stream);
    mem_free(p);
}

static void finish(struct probe *p, int err)
{
    struct probes *all = p->all;
    char id[NODE_ID_LEN + 1];
    memcpy(id, p->id, sizeof(id));
    drop(p);
    enum probe_result r = PROBE_SILENT;
    if (err == 0) {
        r = PROBE_OK;
    } else if (err == ECONNREFUSED) {
        r = PROBE_REFUSED;
    }
    all->fn(all->arg, id, r);
}

static void on_connect(struct stream *s, int err)
{
    finish(s->owner, err);
}

static void on_data(struct stream *s)
{
    (void)s; /* gone by then */
}

struct probes *probes_new(struct loop *l, probe_fn fn, void *arg)
{
    struct probes *p = mem_zalloc(sizeof(*p));
    p->loop = l;
    p->fn = fn;
    p->arg = arg;
    list_init(&p->probes);
    return p;
}

void probes_free(struct probes **pp)
{
    struct probes *p = *pp;
    if (p == NULL) {
        return;
    }
    *pp = NULL;
    LIST_FOREACH_SAFE(it, &p->probes) {
        drop(container_of(it, struct probe, link));
    }
    mem_free(p);
}

void probes_start(struct probes *all, const char *id, const char *host, int port)
{
    struct probe *p = mem_zalloc(sizeof(*p));
    p->all = all;
    memcpy(p->id, id, sizeof(p->id));
    list_append(&all->probes, &p->link);
    p->stream = stream_connect(all->loop, host, port, PROBE_MS, p, on_connect, on_data, on_connect);
}
