// SPDX-License-Identifier: BSD-3-Clause
/* DEBUG: for tests and for looking inside; only with enable-debug-command. What concerns keys goes
 * to their nodes, what concerns a server's inside to all of them; the proxy itself answers what
 * shows how replies look. */
#include "proxy/admin/admin_priv.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/cmd/reply.h"
#include "common/resp/value.h"

#include <stdio.h>

#define SLEEP_SECONDS_MAX 86400.0
#define DIGEST_HEX        40

static enum local_result debug_log(struct local_call *c)
{
    log_event(LOG_WARNING, "debug", "DEBUG LOG: %.*s", ARG_PRINT(c->argv[2]));
    resp_ok(c->w);
    return LOCAL_DONE;
}

/* --- SLEEP: this client waits; the worker's others do not --- */

struct nap {
    struct loop_timer timer;
    struct later *later;
};

static void woke(struct loop_timer *t)
{
    struct nap *n = t->arg;
    loop_timer_fini(t);
    resp_ok(&n->later->w);
    later_finish(&n->later);
    mem_free(n);
}

static enum local_result debug_sleep(struct local_call *c)
{
    double seconds;
    if (!num_parse_double(c->argv[2], &seconds) || !(seconds >= 0) || seconds > SLEEP_SECONDS_MAX) {
        return refuse(c, ERR_NOT_FLOAT);
    }
    struct nap *n = mem_zalloc(sizeof(*n));
    n->later = later_new(c);
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

/* --- PROTOCOL: one of each type --- */

static void protocol_numbers(struct resp_writer *w)
{
    for (int i = 0; i < 3; i++) {
        resp_int(w, i);
    }
}

static void protocol_array(struct resp_writer *w)
{
    resp_array(w, 3);
    protocol_numbers(w);
}

static void protocol_set(struct resp_writer *w)
{
    resp_set(w, 3);
    protocol_numbers(w);
}

static void protocol_map(struct resp_writer *w)
{
    resp_map(w, 3);
    for (int i = 0; i < 3; i++) {
        resp_int(w, i);
        resp_bool(w, i == 1);
    }
}

static void protocol_attrib(struct resp_writer *w)
{
    if (w->proto >= 3) {
        resp_attribute(w, 1);
        resp_bulkz(w, "key-popularity");
        resp_array(w, 2);
        resp_bulkz(w, "key:123");
        resp_int(w, 90);
    }
    resp_bulkz(w, "Some real reply following the attribute");
}

static void protocol_push(struct resp_writer *w)
{
    resp_push(w, 2);
    resp_bulkz(w, "server-cpu-usage");
    resp_int(w, 42);
}

static void protocol_string(struct resp_writer *w)
{
    resp_bulkz(w, "Hello World");
}

static void protocol_integer(struct resp_writer *w)
{
    resp_int(w, 12345);
}

static void protocol_double(struct resp_writer *w)
{
    resp_double(w, 3.141);
}

static void protocol_bignum(struct resp_writer *w)
{
    resp_bignum(w, "1234567999999999999999999999999999999");
}

static void protocol_verbatim(struct resp_writer *w)
{
    resp_verbatim(w, "txt", SLICE("This is a verbatim\nstring"));
}

static void protocol_true(struct resp_writer *w)
{
    resp_bool(w, true);
}

static void protocol_false(struct resp_writer *w)
{
    resp_bool(w, false);
}

static enum local_result debug_protocol(struct local_call *c)
{
    static const struct {
        const char *name;
        void (*write)(struct resp_writer *w);
    } kinds[] = {{"string", protocol_string},    {"integer", protocol_integer},
                 {"double", protocol_double},    {"null", resp_nil},
                 {"array", protocol_array},      {"set", protocol_set},
                 {"map", protocol_map},          {"attrib", protocol_attrib},
                 {"push", protocol_push},        {"bignum", protocol_bignum},
                 {"true", protocol_true},        {"false", protocol_false},
                 {"verbatim", protocol_verbatim}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (slice_is(c->argv[2], kinds[i].name)) {
            kinds[i].write(c->w);
            return LOCAL_DONE;
        }
    }
    return refuse(c, "ERR Wrong protocol type name. Please use one of the following: "
                     "string|integer|double|null|array|set|map|attrib|push|verbatim|true|false");
}

static enum local_result debug_error(struct local_call *c)
{
    struct str text = {0};
    str_append_slice(&text, c->argv[2]);
    resp_error(c->w, str_cstr(&text));
    str_fini(&text);
    return LOCAL_DONE;
}

/* A crash on demand concerns one process: ask the one that is meant. */
static enum local_result debug_not_here(struct local_call *c)
{
    return refuse(c, "ERR DEBUG of this kind is not passed on: ask the node itself");
}

static enum local_result debug_help(struct local_call *c)
{
    static const char *const lines[] = {"DIGEST",
                                        "    Return a digest of all keys and values.",
                                        "DIGEST-VALUE <key> [<key> ...]",
                                        "    Return a digest of each value.",
                                        "ERROR <string>",
                                        "    Answer with this error.",
                                        "LOG <message>",
                                        "    Write a line to the proxy's log.",
                                        "OBJECT <key>",
                                        "    Show how a value is kept.",
                                        "PROTOCOL <type>",
                                        "    Answer with a value of that type.",
                                        "SLEEP <seconds>",
                                        "    Answer after so long.",
                                        "SET-ACTIVE-EXPIRE <0|1> and others",
                                        "    Go to every node.",
                                        NULL};
    command_help_reply(c->w, "DEBUG", lines);
    return LOCAL_DONE;
}

static const struct {
    const char *name;
    size_t argc_min;
    size_t argc_max; /* 0: no upper limit */
    local_fn fn;
} handlers[] = {
    {"log", 3, 3, debug_log},
    {"sleep", 3, 3, debug_sleep},
    {"object", 3, 4, debug_object},
    {"htstats-key", 3, 4, debug_object},
    {"listpack", 3, 3, debug_object},
    {"ziplist", 3, 3, debug_object},
    {"quicklist", 3, 4, debug_object},
    {"digest", 2, 2, debug_digest},
    {"digest-value", 2, 0, debug_digest_value},
    {"protocol", 3, 3, debug_protocol},
    {"error", 3, 3, debug_error},
    {"segfault", 2, 2, debug_not_here},
    {"panic", 2, 2, debug_not_here},
    {"assert", 2, 2, debug_not_here},
    {"oom", 2, 2, debug_not_here},
    {"leak", 3, 3, debug_not_here},
    {"restart", 2, 3, debug_not_here},
    {"crash-and-recover", 2, 3, debug_not_here},
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
        return refuse(c, "ERR DEBUG command not allowed. If the enable-debug-command option is set "
                         "to \"local\", you can run it from a local connection, otherwise you need "
                         "to set this option in the configuration file, and then restart the "
                         "server.");
    }
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        bool fits = c->argc >= handlers[i].argc_min &&
                    (handlers[i].argc_max == 0 || c->argc <= handlers[i].argc_max);
        if (fits && slice_is(c->argv[1], handlers[i].name)) {
            return handlers[i].fn(c);
        }
    }
    return local_fan(c, c->argv, c->argc, NULL, NULL);
}

void admin_debug(struct local_table *t)
{
    local_table_set(t, CMD_DEBUG, do_debug, LOCAL_ORDERED);
}
