// SPDX-License-Identifier: BSD-3-Clause
#include "proxy/front/observe.h"

#include "proxy/front/client.h"
#include "proxy/front/monitor.h"
#include "proxy/front/options.h"
#include "proxy/front/worker.h"
#include "proxy/route/request.h"

#include "common/app/acl_command.h"
#include "common/app/config_command.h"
#include "common/base/mem.h"
#include "common/io/stream.h"
#include "common/resp/parse.h"

#define KEPT_MIN 256 /* slow commands a second that are kept at least */

struct observe *observe_new(bool first, const struct proxy_options *o)
{
    struct observe *ob = mem_zalloc(sizeof(*ob));
    ob->stats = cmdstats_new(o->latency_tracking);
    if (first) {
        ob->slowlog = slowlog_new();
        ob->latency = latency_new();
    }
    observe_set(ob, o);
    return ob;
}

void observe_free(struct observe **obp)
{
    struct observe *ob = *obp;
    *obp = NULL;
    if (ob != NULL) {
        cmdstats_free(&ob->stats);
        slowlog_free(&ob->slowlog);
        latency_free(&ob->latency);
        mem_free(ob);
    }
}

void observe_set(struct observe *ob, const struct proxy_options *o)
{
    ob->stats->tracking = o->latency_tracking;
    ob->slow_us = o->slowlog_log_slower_than;
    ob->latency_ms = o->latency_monitor_threshold;
    int64_t slow = ob->slow_us < 0 ? INT64_MAX : ob->slow_us;
    int64_t late = ob->latency_ms <= 0 || ob->latency_ms > INT64_MAX / 1000 ? INT64_MAX
                                                                            : ob->latency_ms * 1000;
    ob->notable_us = MIN(slow, late);
    /* When all is slow, keeping each would make it slower: the log holds no more anyway. */
    ob->kept_max = MAX(o->slowlog_max_len * 2, KEPT_MIN);
    if (ob->slowlog != NULL) {
        slowlog_set_threshold(ob->slowlog, o->slowlog_log_slower_than);
        slowlog_set_len_max(ob->slowlog, o->slowlog_max_len);
        latency_set_threshold(ob->latency, o->latency_monitor_threshold);
    }
}

void observe_reset(struct observe *ob)
{
    cmdstats_reset(ob->stats);
    memset(ob->seen, 0, sizeof(ob->seen));
}

void observe_second(struct observe *ob, uint64_t commands, uint64_t bytes_in, uint64_t bytes_out)
{
    ob->kept = 0;
    const uint64_t now[3] = {commands, bytes_in, bytes_out};
    ob->at = (ob->at + 1) % OBSERVE_RATES;
    for (int i = 0; i < 3; i++) {
        /* Less than before: CONFIG RESETSTAT. */
        ob->seen[ob->at][i] = now[i] >= ob->last[i] ? now[i] - ob->last[i] : now[i];
        ob->last[i] = now[i];
    }
}

uint64_t observe_rate(const struct observe *ob, int which)
{
    uint64_t sum = 0;
    for (int i = 0; i < OBSERVE_RATES; i++) {
        sum += ob->seen[i][which];
    }
    return sum / OBSERVE_RATES;
}

/* --- what took long --- */

struct notable {
    struct slowlog_entry *entry; /* NULL: not for the slow log */
    const char *event;           /* NULL: not for the latency monitor */
    int64_t wall_ms;
    int64_t ms;
};

static void keep(struct worker *w, void *arg, struct str *answer)
{
    struct notable *n = arg;
    (void)answer;
    if (w->index != 0) {
        return;
    }
    if (n->entry != NULL) {
        slowlog_push(w->observe->slowlog, n->entry);
    }
    if (n->event != NULL) {
        latency_add(w->observe->latency, n->event, n->wall_ms, n->ms);
    }
}

static void kept(struct worker *asker, void *arg, struct str *answers, int n)
{
    (void)asker;
    (void)answers;
    (void)n;
    mem_free(arg);
}

/* The secrets in a command are not shown. */
static void redact(const struct worker *w, const struct command *c, struct slice *argv, size_t argc)
{
    const struct slice hidden = SLICE("(redacted)");
    (void)w;
    acl_redact(c, argv, argc);
    if (c->id == CMD_CONFIG_SET) {
        for (size_t i = 3; i < argc; i += 2) {
            if (config_is_secret(proxy_options_table(), argv, argc, i)) {
                argv[i] = hidden;
            }
        }
    }
}

const struct slice *observe_words(struct worker *w, const struct request *r,
                                  struct resp_parser *parser, struct slice *own, size_t *argc)
{
    resp_parser_init(parser);
    parser->bulk_max = INT64_MAX;
    struct slice bytes =
        r->trace != NULL ? slice_of(r->trace, r->trace_len) : slice_of(r->call.bytes, r->call.len);
    if (bytes.ptr != NULL && resp_parse(parser, bytes) == RESP_OK) {
        /* What it was wrapped in for the node: SHOAL AS <rules>, SHOAL PARK. */
        bool wrapped = slice_is(parser->argv[0], "shoal");
        size_t skip = !wrapped ? 0 : slice_is(parser->argv[1], "as") ? 3 : 2;
        redact(w, r->command, parser->argv + skip, parser->argc - skip);
        *argc = parser->argc - skip;
        return parser->argv + skip;
    }
    *own = slice_str(r->command->full_name);
    *argc = 1;
    return own;
}

static struct slowlog_entry *make_entry(struct worker *w, const struct request *r, int64_t wall_ms,
                                        int64_t us)
{
    struct resp_parser parser;
    char peer[64] = "";
    struct slice name = SLICE("");
    struct slice own;
    size_t argc;
    const struct slice *argv = observe_words(w, r, &parser, &own, &argc);
    struct session *s = r->session != NULL && r->session->inner ? r->session->outer : r->session;
    if (s != NULL) {
        struct client *c = client_of(s);
        stream_peer(c->stream, peer, sizeof(peer));
        name = c->session.name == NULL ? name : slice_str(c->session.name);
    }
    struct slowlog_entry *e = slowlog_entry_new(wall_ms, us, argv, argc, peer, name);
    resp_parser_fini(&parser);
    return e;
}

static void keep_notable(struct worker *w, const struct request *r, int64_t us)
{
    const struct observe *ob = w->observe;
    int64_t wall_ms = loop_wall_ms(w->loop);
    struct notable n = {.wall_ms = wall_ms, .ms = us / 1000};
    if (slowlog_wants(ob->slow_us, us) && !(r->command->flags & CF_SKIP_SLOWLOG)) {
        n.entry = make_entry(w, r, wall_ms, us);
    }
    if (latency_wants(ob->latency_ms, n.ms)) {
        n.event = r->command->flags & CF_FAST ? "fast-command" : "command";
    }
    if (w->index == 0) {
        keep(w, &n, NULL);
    } else {
        workers_ask(w, keep, mem_memdup(&n, sizeof(n)), kept);
    }
}

/* --- from exec --- */

void observe_request(struct worker *w, const struct request *r, int64_t us)
{
    struct observe *ob = w->observe;
    /* An EXEC that was refused ends its transaction all the same. */
    if (UNLIKELY(monitor_any(w)) && (!r->rejected || r->command->id == CMD_EXEC)) {
        monitor_feed(w, r);
    }
    if (UNLIKELY(r->rejected)) {
        cmdstats_rejected(ob->stats, r->command->id);
        return;
    }
    cmdstats_called(ob->stats, r->command->id, us * 1000, r->failed);
    if (UNLIKELY(us >= ob->notable_us) && ob->kept < ob->kept_max) {
        ob->kept++;
        keep_notable(w, r, us);
    }
}

void observe_error(struct worker *w, const char *reply, size_t len)
{
    char code[RESP_CODE_MAX];
    size_t n = 0;
    while (n + 1 < len && n + 1 < sizeof(code) && reply[n + 1] != ' ' && reply[n + 1] != '\r') {
        code[n] = reply[n + 1];
        n++;
    }
    code[n] = '\0';
    cmdstats_error(w->observe->stats, code);
}
