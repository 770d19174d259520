// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/mailbox.h"

#include "common/base/mem.h"
#include "common/io/loop_priv.h"

#include <stdatomic.h>

#define MAILBOX_MAGIC 0x6d61696cu

struct mailbox {
    uint32_t magic;
    _Atomic(struct mail *) newest; /* a stack that senders push to and the receiver takes whole */
    ev_async wake;
    struct loop *loop;
    mailbox_fn fn;
    void *arg;
};

/* The stack has the newest first: turned round, each sender's mail is in its order again. */
static struct mail *take_oldest_first(struct mailbox *m)
{
    struct mail *from = atomic_exchange_explicit(&m->newest, NULL, memory_order_acquire);
    struct mail *to = NULL;
    while (from != NULL) {
        struct mail *next = from->next;
        from->next = to;
        to = from;
        from = next;
    }
    return to;
}

bool mailbox_deliver(struct mailbox *m)
{
    CHECK_OBJ(m, MAILBOX_MAGIC);
    struct mail *mail = take_oldest_first(m);
    bool any = mail != NULL;
    while (mail != NULL) {
        struct mail *next = mail->next; /* fn frees the mail */
        mail->next = NULL;
        m->fn(m->arg, mail);
        mail = next;
    }
    return any;
}

static void on_wake(struct ev_loop *ev, ev_async *w, int revents)
{
    (void)revents;
    struct mailbox *m = w->data;
    if (UNLIKELY(m->loop->meanwhile)) {
        ev_async_send(ev, w);
        return;
    }
    (void)mailbox_deliver(m);
}

struct mailbox *mailbox_new(struct loop *l, mailbox_fn fn, void *arg)
{
    struct mailbox *m = mem_zalloc(sizeof(*m));
    m->magic = MAILBOX_MAGIC;
    m->loop = l;
    m->fn = fn;
    m->arg = arg;
    atomic_init(&m->newest, NULL);
    ev_async_init(&m->wake, on_wake);
    m->wake.data = m;
    ev_async_start(l->ev, &m->wake);
    return m;
}

void mailbox_free(struct mailbox **mp)
{
    struct mailbox *m = *mp;
    *mp = NULL;
    if (m == NULL) {
        return;
    }
    CHECK_OBJ(m, MAILBOX_MAGIC);
    ev_async_stop(m->loop->ev, &m->wake);
    (void)mailbox_deliver(m);
    m->magic = 0;
    mem_free(m);
}

void mailbox_send(struct mailbox *m, struct mail *mail)
{
    CHECK_OBJ(m, MAILBOX_MAGIC);
    struct mail *old = atomic_load_explicit(&m->newest, memory_order_relaxed);
    do {
        mail->next = old;
    } while (!atomic_compare_exchange_weak_explicit(&m->newest, &old, mail, memory_order_release,
                                                    memory_order_relaxed));
    if (old == NULL) {
        /* Who finds it empty wakes the receiver; it takes all that came until then. */
        ev_async_send(m->loop->ev, &m->wake);
    }
}
