// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/admin/admin_priv.h"

#include "common/base/mem.h"

struct later *later_of(const struct local_call *c, const struct slice *argv, size_t argc)
{
    size_t bytes = 0;
    for (size_t i = 0; i < argc; i++) {
        bytes += argv[i].len;
    }
    struct later *l = mem_zalloc(sizeof(*l));
    l->exec = c->exec;
    l->worker = c->worker;
    l->request = c->request;
    l->command = c->command;
    l->argc = argc;
    l->argv = mem_alloc((argc + 1) * sizeof(*l->argv) + bytes);
    char *at = (char *)(l->argv + argc + 1);
    for (size_t i = 0; i < argc; i++) {
        memcpy(at, argv[i].ptr, argv[i].len);
        l->argv[i] = slice_of(at, argv[i].len);
        at += argv[i].len;
    }
    l->w = (struct resp_writer){.out = &l->out, .proto = c->request->proto};
    return l;
}

struct later *later_new(const struct local_call *c)
{
    return later_of(c, c->argv, c->argc);
}

void later_drop(struct later **lp)
{
    struct later *l = *lp;
    *lp = NULL;
    outbuf_fini(&l->out);
    mem_free(l->argv);
    mem_free(l);
}

void later_finish(struct later **lp)
{
    struct later *l = *lp;
    exec_set_now(l->exec, loop_now_us(l->worker->loop));
    local_finish(l->exec, l->request, &l->out);
    later_drop(lp);
}

struct local_call later_call(const struct later *l)
{
    return (struct local_call){.exec = l->exec,
                               .worker = l->worker,
                               .session = l->request->session,
                               .request = l->request,
                               .command = l->command,
                               .argv = l->argv,
                               .argc = l->argc};
}

void outbuf_to_str(struct outbuf *o, struct str *to)
{
    struct iovec iov[16];
    while (o->bytes > 0) {
        int n = outbuf_iovec(o, iov, (int)ARRAY_LEN(iov));
        size_t moved = 0;
        for (int i = 0; i < n; i++) {
            str_append(to, iov[i].iov_base, iov[i].iov_len);
            moved += iov[i].iov_len;
        }
        outbuf_consume(o, moved);
    }
    outbuf_fini(o);
}

/* --- asking the first worker --- */

struct first_ask {
    struct later *later;
    first_worker_fn fn;
};

static void visit_first(struct worker *w, void *arg, struct str *answer)
{
    const struct first_ask *a = arg;
    if (w->index == 0) {
        struct outbuf out = {0};
        struct resp_writer writer = {.out = &out, .proto = a->later->w.proto};
        a->fn(w, a->later, &writer);
        outbuf_to_str(&out, answer);
    }
}

static void first_answered(struct worker *asker, void *arg, struct str *answers, int n)
{
    struct first_ask *a = arg;
    (void)asker;
    INVARIANT(n > 0);
    outbuf_append(a->later->w.out, answers[0].ptr, answers[0].len);
    later_finish(&a->later);
    mem_free(a);
}

enum local_result ask_first_worker(struct local_call *c, first_worker_fn fn)
{
    struct first_ask *a = mem_zalloc(sizeof(*a));
    a->later = later_new(c);
    a->fn = fn;
    workers_ask(worker_of(c), visit_first, a, first_answered);
    return LOCAL_LATER;
}
