// SPDX-License-Identifier: BSD-3-Clause
/* DEBUG: for tests and for looking inside; only with enable-debug-command. What concerns keys goes
 * to their nodes, what concerns a server's inside to all of them; the proxy itself answers what
 * shows how replies look. */
#include "proxy/admin/admin_priv.h"

#include "common/app/debug_command.h"
#include "common/base/mem.h"
#include "common/resp/value.h"

#include <stdio.h>

#define DIGEST_HEX 40

/* --- SLEEP: this client waits; the worker's others do not --- */

struct nap {
    struct worker_open open;
    struct loop_timer timer;
    struct later *later;
};

static void woke(struct loop_timer *t)
{
    struct nap *n = t->arg;
    list_remove(&n->open.link);
    loop_timer_fini(t);
    resp_ok(&n->later->w);
    later_finish(&n->later);
    mem_free(n);
}

static void nap_ended(struct worker_open *o)
{
    woke(&container_of(o, struct nap, open)->timer);
}

static enum local_result debug_sleep(struct local_call *c)
{
    double seconds;
    if (!debug_read_seconds(c->argv[2], &seconds, c->w)) {
        return LOCAL_DONE;
    }
    struct nap *n = mem_zalloc(sizeof(*n));
    n->later = later_new(c);
    n->open.end = nap_ended;
    list_append(&worker_of(c)->open, &n->open.link);
    loop_timer_init(&n->timer, worker_of(c)->loop, woke, n);
    loop_timer_start(&n->timer, (int64_t)(seconds * 1000 + 0.999), 0);
    return LOCAL_LATER;
}

/* --- by key --- */

static enum local_result debug_object(struct local_call *c)
{
    return local_forward(c, c->argv, c->argc, c->argv[2]);
}

/* --- digests: the nodes' have no order, so they add up by XOR --- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool add_digest(char sum[DIGEST_HEX + 1], struct slice hex)
{
    if (hex.len != DIGEST_HEX) {
        return false;
    }
    for (size_t i = 0; i < DIGEST_HEX; i++) {
        int a = hex_digit(sum[i]), b = hex_digit(hex.ptr[i]);
        if (b < 0) {
            return false;
        }
        sum[i] = "0123456789abcdef"[a ^ b];
    }
    return true;
}

/* The first error among the answers, as it came; true if there was one. */
static bool pass_error(struct local_call *c, const struct fan_answer *answers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (answers[i].reply.len > 0 && answers[i].reply.ptr[0] == '-') {
            outbuf_append(c->w->out, answers[i].reply.ptr, answers[i].reply.len);
            return true;
        }
    }
    return false;
}

static void merge_digests(struct local_call *c, const struct fan_answer *answers, size_t n,
                          void *arg)
{
    size_t keys = (size_t)(uintptr_t)arg; /* 0: one digest of all; else as many as keys, + 1 */
    size_t count = keys == 0 ? 1 : keys - 1;
    if (pass_error(c, answers, n)) {
        return;
    }
    char(*sums)[DIGEST_HEX + 1] = mem_alloc((count + 1) * sizeof(*sums));
    for (size_t k = 0; k < count; k++) {
        (void)snprintf(sums[k], sizeof(sums[k]), "%0*d", DIGEST_HEX, 0);
    }
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        struct resp_value *v = resp_value_parse(answers[i].reply);
        const struct resp_value *items = v == NULL ? NULL : keys == 0 ? v : v->items;
        ok = ok && v != NULL && (keys == 0 || v->count == count);
        for (size_t k = 0; ok && k < count; k++) {
            ok = add_digest(sums[k], items[k].text);
        }
        resp_value_free(&v);
    }
    if (!ok) {
        resp_error(c->w, "ERR a node answered no digest");
    } else if (keys == 0) {
        resp_simple(c->w, sums[0]);
    } else {
        resp_array(c->w, count);
        for (size_t k = 0; k < count; k++) {
            resp_simple(c->w, sums[k]);
        }
    }
    mem_free(sums);
}

static enum local_result debug_digest(struct local_call *c)
{
    return local_fan(c, c->argv, c->argc, merge_digests, NULL);
}

/* A node that does not hold a key counts it as nothing. */
static enum local_result debug_digest_value(struct local_call *c)
{
    return local_fan(c, c->argv, c->argc, merge_digests, (void *)(uintptr_t)(c->argc - 2 + 1));
}

/* A crash on demand concerns one process: ask the one that is meant. */
static enum local_result debug_not_here(struct local_call *c)
{
    return refuse(c, "ERR DEBUG of this kind is not passed on: ask the node itself");
}

static enum local_result debug_help(struct local_call *c)
{
    static const char *const lines[] = {
        "DIGEST",
        "    Return a digest of all keys and values.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Return a digest of each value.",
        "OBJECT <key>",
        "    Show how a value is kept.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Make string keys named key:<number> where there are none.",
        "SET-ACTIVE-EXPIRE <0|1> and others",
        "    Go to every node.",
        "SLEEP <seconds>",
        "    Answer after so long.",
        NULL};
    debug_help_reply(lines, c->w);
    return LOCAL_DONE;
}

static const struct {
    const char *name;
    size_t argc_min;
    size_t argc_max; /* 0: no upper limit */
    local_fn fn;
} handlers[] = {
    {"sleep", 3, 3, debug_sleep},        {"object", 3, 4, debug_object},
    {"htstats-key", 3, 4, debug_object}, {"listpack", 3, 3, debug_object},
    {"ziplist", 3, 3, debug_object},     {"quicklist", 3, 4, debug_object},
    {"digest", 2, 2, debug_digest},      {"digest-value", 2, 0, debug_digest_value},
    {"htstats", 3, 4, debug_not_here},   {"segfault", 2, 2, debug_not_here},
    {"panic", 2, 2, debug_not_here},     {"assert", 2, 2, debug_not_here},
    {"oom", 2, 2, debug_not_here},       {"leak", 3, 3, debug_not_here},
    {"restart", 2, 3, debug_not_here},   {"crash-and-recover", 2, 3, debug_not_here},
    {"help", 2, 2, debug_help},
};

static bool allowed(const struct local_call *c)
{
    switch ((enum protection)options_of(c)->enable_debug_command) {
    case PROTECT_YES:
        return true;
    case PROTECT_LOCAL:
        return client_is_local(c);
    case PROTECT_NO:
        break;
    }
    return false;
}

static enum local_result do_debug(struct local_call *c)
{
    if (!allowed(c)) {
        return refuse(c, DEBUG_REFUSAL);
    }
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        bool fits = c->argc >= handlers[i].argc_min &&
                    (handlers[i].argc_max == 0 || c->argc <= handlers[i].argc_max);
        if (fits && slice_is(c->argv[1], handlers[i].name)) {
            return handlers[i].fn(c);
        }
    }
    if (debug_common(c->argv, c->argc, c->w)) {
        return LOCAL_DONE;
    }
    return local_fan(c, c->argv, c->argc, NULL, NULL);
}

void admin_debug(struct local_table *t)
{
    local_table_set(t, CMD_DEBUG, do_debug, LOCAL_ORDERED);
}
