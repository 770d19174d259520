// SPDX-License-Identifier: BSD-3-Clause
#include "common/io/names.h"

#include "common/base/mem.h"
#include "common/io/loop_priv.h"
#include "common/io/mailbox.h"
#include "common/io/thread.h"

#include <netdb.h>
#include <pthread.h>

enum name_state { NAME_WAITS, NAME_RUNS, NAME_KNOWN };

struct name {
    struct list link; /* names->all: in the order of their turn, or of their answers */
    struct list queries;
    enum name_state state;
    int why;
    struct addr addr;
    int64_t good_until_ms;
    char host[];
};

/* Where answers are handed in; it outlives the loop as long as look-ups are under way. */
struct desk {
    pthread_mutex_t lock; /* of all that follows; never held for long */
    unsigned refs;
    struct mailbox *box; /* NULL: nobody is interested any more */
};

/* A look-up under way; the thread's own. */
struct errand {
    struct mail mail;
    struct desk *desk;
    struct name *name; /* the loop's: not looked at by the thread */
    names_look_up_fn look_up;
    int why;
    struct addr addr;
    char host[];
};

struct names {
    struct loop *loop;
    struct mailbox *box;
    struct desk *desk;
    names_look_up_fn look_up;
    struct list all;
    size_t n;
    unsigned running;
    bool closing;
};

/* ---- on a look-up's thread ---- */

static void desk_unref(struct desk *d)
{
    pthread_mutex_lock(&d->lock);
    bool last = --d->refs == 0;
    pthread_mutex_unlock(&d->lock);
    if (last) {
        pthread_mutex_destroy(&d->lock);
        mem_free(d);
    }
}

static void hand_in(struct errand *e)
{
    struct desk *d = e->desk;
    pthread_mutex_lock(&d->lock);
    if (d->box != NULL) {
        mailbox_send(d->box, &e->mail);
    } else {
        mem_free(e);
    }
    pthread_mutex_unlock(&d->lock);
    desk_unref(d);
}

static void run_errand(void *arg)
{
    struct errand *e = arg;
    e->why = e->look_up(e->host, &e->addr);
    hand_in(e);
    mem_publish();
}

/* ---- on the loop's ---- */

static void start(struct names *all, struct name *n)
{
    size_t len = strlen(n->host) + 1;
    struct errand *e = mem_zalloc(sizeof(*e) + len);
    e->desk = all->desk;
    e->name = n;
    e->look_up = all->look_up;
    memcpy(e->host, n->host, len);
    n->state = NAME_RUNS;
    all->running++;
    pthread_mutex_lock(&e->desk->lock);
    e->desk->refs++;
    pthread_mutex_unlock(&e->desk->lock);
    if (!thread_start_alone("name", run_errand, e)) {
        e->why = EAI_AGAIN;
        hand_in(e); /* as a thread would: the answer comes from the loop */
    }
}

static void start_some(struct names *all)
{
    LIST_FOREACH(it, &all->all) {
        struct name *n = container_of(it, struct name, link);
        if (all->running == NAMES_AT_ONCE) {
            return;
        }
        if (n->state == NAME_WAITS) {
            start(all, n);
        }
    }
}

static void tell(struct list *queries, int why, const struct addr *addr)
{
    while (!list_empty(queries)) {
        struct names_query *q = container_of(queries->next, struct names_query, link);
        struct addr to = *addr;
        list_remove(&q->link);
        addr_set_port(&to, q->port);
        q->fn(q, why, &to);
    }
}

static void on_answer(void *arg, struct mail *mail)
{
    struct names *all = arg;
    struct errand *e = container_of(mail, struct errand, mail);
    struct name *n = e->name;
    struct list queries; /* apart: who is told may ask, and so make the name be forgotten */
    all->running--;
    if (!all->closing) {
        n->state = NAME_KNOWN;
        n->why = e->why;
        n->addr = e->addr;
        n->good_until_ms =
            loop_now_ms(all->loop) + (e->why == 0 ? NAMES_LIFE_MS : NAMES_LIFE_FAILED_MS);
        list_remove(&n->link);
        list_append(&all->all, &n->link);
        list_init(&queries);
        list_append(&n->queries, &queries);
        list_remove(&n->queries);
        start_some(all);
        tell(&queries, e->why, &e->addr);
    }
    mem_free(e);
}

static struct names *names_of(struct loop *l)
{
    if (l->names == NULL) {
        struct names *all = mem_zalloc(sizeof(*all));
        all->loop = l;
        all->look_up = addr_look_up;
        all->box = mailbox_new(l, on_answer, all);
        all->desk = mem_zalloc(sizeof(*all->desk));
        all->desk->refs = 1;
        all->desk->box = all->box;
        INVARIANT(pthread_mutex_init(&all->desk->lock, NULL) == 0);
        list_init(&all->all);
        l->names = all;
    }
    return l->names;
}

static void forget(struct names *all, struct name *n)
{
    LIST_FOREACH_SAFE(it, &n->queries) {
        list_remove(it);
    }
    list_remove(&n->link);
    all->n--;
    mem_free(n);
}

void names_end(struct loop *l)
{
    struct names *all = l->names;
    if (all == NULL) {
        return;
    }
    l->names = NULL;
    all->closing = true;
    pthread_mutex_lock(&all->desk->lock);
    all->desk->box = NULL;
    pthread_mutex_unlock(&all->desk->lock);
    mailbox_free(&all->box);
    desk_unref(all->desk);
    LIST_FOREACH_SAFE(it, &all->all) {
        forget(all, container_of(it, struct name, link));
    }
    mem_free(all);
}

static struct name *find(const struct names *all, const char *host)
{
    LIST_FOREACH(it, &all->all) {
        struct name *n = container_of(it, struct name, link);
        if (strcmp(n->host, host) == 0) {
            return n;
        }
    }
    return NULL;
}

/* Of those that are known the oldest goes. */
static bool make_room(struct names *all)
{
    LIST_FOREACH(it, &all->all) {
        struct name *n = container_of(it, struct name, link);
        if (n->state == NAME_KNOWN) {
            forget(all, n);
            return true;
        }
    }
    return false;
}

/* NULL: too many wait. */
static struct name *add(struct names *all, const char *host)
{
    size_t len = strlen(host) + 1;
    if (all->n == NAMES_MAX && !make_room(all)) {
        return NULL;
    }
    struct name *n = mem_zalloc(sizeof(*n) + len);
    list_init(&n->queries);
    list_append(&all->all, &n->link);
    memcpy(n->host, host, len);
    all->n++;
    return n;
}

void names_query_init(struct names_query *q, names_fn fn)
{
    list_init(&q->link);
    q->fn = fn;
}

enum names_answer names_ask(struct loop *l, struct names_query *q, const char *host, int port,
                            struct addr *to, int *why)
{
    INVARIANT(list_empty(&q->link));
    if (addr_parse(host, port, to)) {
        return NAMES_KNOWN;
    }
    if (port < 0 || port > 65535 || strlen(host) >= NI_MAXHOST) {
        *why = EAI_NONAME;
        return NAMES_REFUSED;
    }
    struct names *all = names_of(l);
    struct name *n = find(all, host);
    if (n == NULL && (n = add(all, host)) == NULL) {
        *why = EAI_AGAIN;
        return NAMES_REFUSED;
    }
    if (n->state == NAME_KNOWN && loop_now_ms(l) < n->good_until_ms) {
        *why = n->why;
        *to = n->addr;
        addr_set_port(to, port);
        return n->why == 0 ? NAMES_KNOWN : NAMES_REFUSED;
    }
    if (n->state == NAME_KNOWN) {
        n->state = NAME_WAITS;
        list_remove(&n->link); /* behind those that wait longer */
        list_append(&all->all, &n->link);
    }
    q->port = port;
    list_append(&n->queries, &q->link);
    start_some(all);
    return NAMES_LATER;
}

void names_unask(struct names_query *q)
{
    list_remove(&q->link);
}

void names_look_up_by(struct loop *l, names_look_up_fn fn)
{
    names_of(l)->look_up = fn;
}
