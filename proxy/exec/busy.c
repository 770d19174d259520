// SPDX-License-Identifier: BSD-3-Clause
/* Nodes at which a slow script runs. They say so on every lane, again and again, so that a silent
 * lane is not taken for a broken one:
 *
 *   > busy <number> <keyless> <text>    text "": it is over
 *
 * A number: that lane stands behind the script. What it sent behind its number-th command is never
 * run: it is answered here as the node answers others, but for what the script's own client sent,
 * which waits for the script as with Redis. The lane ends with the replies that are left; a new one
 * takes its place at once. */
#include "proxy/exec/exec_priv.h"

#include "common/base/num.h"

#include <stdio.h>

struct notice {
    int64_t number;
    int64_t keyless;
    struct slice text;
};

/* "<type><number>\r\n" */
static bool take_number(struct slice *in, char type, int64_t *v)
{
    const char *eol = in->len > 0 ? memchr(in->ptr, '\r', in->len) : NULL;
    if (eol == NULL || *in->ptr != type ||
        !num_parse_i64(slice_of(in->ptr + 1, (size_t)(eol - in->ptr) - 1), v)) {
        return false;
    }
    size_t used = (size_t)(eol - in->ptr) + 2;
    *in = used > in->len ? SLICE("") : slice_of(in->ptr + used, in->len - used);
    return true;
}

static bool read_notice(struct slice in, struct notice *n)
{
    static const char head[] = ">4\r\n$4\r\nbusy\r\n";
    int64_t len;
    if (in.len < sizeof(head) || memcmp(in.ptr, head, sizeof(head) - 1) != 0) {
        return false;
    }
    in = slice_of(in.ptr + sizeof(head) - 1, in.len - (sizeof(head) - 1));
    if (!take_number(&in, ':', &n->number) || !take_number(&in, ':', &n->keyless) ||
        !take_number(&in, '$', &len) || len < 0 || (uint64_t)len > in.len) {
        return false;
    }
    n->text = slice_of(in.ptr, (size_t)len);
    return true;
}

void busy_set(struct exec *x, struct lane *l, bool busy, bool keyless)
{
    x->n_keyless += (busy && keyless) - l->keyless;
    l->busy = busy;
    l->keyless = busy && keyless;
}

const char *exec_busy(const struct exec *x)
{
    return LIKELY(x->n_keyless == 0) ? NULL : x->busy_text;
}

/* Whose script it is; NULL: nobody's on this lane, or gone. */
static const struct session *owner(const struct lane *l, uint64_t number)
{
    const struct call *c = l->tail;
    return c != NULL && c->number == number && c->request != NULL ? c->request->session : NULL;
}

static void refuse(struct exec *x, struct call *c, const struct session *waits)
{
    if (c->request == NULL) {
        mem_free(c); /* the lane's own words: it ends */
    } else if (waits != NULL && c->request->session == waits) {
        call_hold(x, c, x->now_us + 1000);
    } else {
        call_error(x, c, x->busy_text);
    }
}

/* Nothing more goes by it. */
static void retire(struct exec *x, struct lane *l)
{
    struct target *t = l->target;
    t->lanes[l->kind][l->proto - 2] = NULL;
    t->n_pinned++; /* it stays until the lane is freed */
    l->leaving = true;
    list_append(&x->leaving, &l->idle);
    x->routes_version++; /* who has something under way goes on behind it */
    exec_wake(x, x->now_us + 1000);
}

static void spend(struct exec *x, struct lane *l, uint64_t number)
{
    if (l->kind > LANE_WRITE || l->leaving) {
        return;
    }
    struct call *c = lane_cut(x, l, number);
    const struct session *waits = owner(l, number);
    retire(x, l);
    while (c != NULL) {
        struct call *next = c->next;
        refuse(x, c, waits);
        c = next;
    }
    lane_resume_stopped(x, l);
}

/* Who is told first by one lane tells for all: behind that comes the script's own reply. */
static void over(struct exec *x, const struct target *t)
{
    LIST_FOREACH(it, &x->lanes) {
        struct lane *l = container_of(it, struct lane, link);
        if (l->target == t) {
            busy_set(x, l, false, false);
        }
    }
}

bool busy_pushed(struct exec *x, struct lane *l, const char *ptr, size_t len)
{
    struct notice n;
    if (!read_notice(slice_of(ptr, len), &n)) {
        return false;
    }
    bool busy = n.text.len > 0;
    if (busy) {
        snprintf(x->busy_text, sizeof(x->busy_text), "%.*s", (int)MIN(n.text.len, 200u),
                 n.text.ptr);
    }
    if (busy) {
        busy_set(x, l, true, n.keyless != 0);
    } else {
        over(x, l->target);
    }
    if (busy && n.number >= 0) {
        spend(x, l, (uint64_t)n.number);
    }
    return true;
}
