// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/cmdstats.h"

#include "common/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define CMDSTATS_MAGIC 0x63737461u

struct cmdstats *cmdstats_new(bool tracking)
{
    struct cmdstats *s = mem_zalloc(sizeof(*s));
    s->magic = CMDSTATS_MAGIC;
    s->tracking = tracking;
    return s;
}

void cmdstats_free(struct cmdstats **sp)
{
    struct cmdstats *s = *sp;
    *sp = NULL;
    if (s != NULL) {
        cmdstats_reset(s);
        s->magic = 0;
        mem_free(s);
    }
}

void cmdstats_reset(struct cmdstats *s)
{
    CHECK_OBJ(s, CMDSTATS_MAGIC);
    for (size_t i = 0; i < CMD_MAX; i++) {
        mem_free(s->of[i].histogram);
    }
    memset(s->of, 0, sizeof(s->of));
    s->errors = 0;
    s->code_count = 0;
}

void cmdstats_make_histogram(struct cmdstat *c)
{
    c->histogram = mem_zalloc(sizeof(*c->histogram));
}

static void count_code(struct cmdstats *s, const char *code, uint64_t times)
{
    s->errors += times;
    for (size_t i = 0; i < s->code_count; i++) {
        if (strcmp(s->codes[i].code, code) == 0) {
            s->codes[i].count += times;
            return;
        }
    }
    if (s->code_count == CMDSTATS_CODES_MAX - 1) {
        code = "OTHER";
    } else if (s->code_count == CMDSTATS_CODES_MAX) {
        s->codes[CMDSTATS_CODES_MAX - 1].count += times;
        return;
    }
    struct errorstat *e = &s->codes[s->code_count++];
    (void)snprintf(e->code, sizeof(e->code), "%s", code);
    e->count = times;
}

void cmdstats_error(struct cmdstats *s, const char *code)
{
    CHECK_OBJ(s, CMDSTATS_MAGIC);
    count_code(s, code, 1);
}

void cmdstats_merge(struct cmdstats *to, const struct cmdstats *from)
{
    CHECK_OBJ(to, CMDSTATS_MAGIC);
    for (size_t i = 0; i < CMD_MAX; i++) {
        struct cmdstat *t = &to->of[i];
        const struct cmdstat *f = &from->of[i];
        t->calls += f->calls;
        t->ns += f->ns;
        t->rejected += f->rejected;
        t->failed += f->failed;
        if (f->histogram != NULL) {
            if (t->histogram == NULL) {
                cmdstats_make_histogram(t);
            }
            histogram_merge(t->histogram, f->histogram);
        }
    }
    for (size_t i = 0; i < from->code_count; i++) {
        count_code(to, from->codes[i].code, from->codes[i].count);
    }
}

/* --- INFO --- */

void cmdstats_info_commands(const struct cmdstats *s, struct str *to)
{
    for (unsigned id = 1; id < CMD_MAX; id++) {
        const struct cmdstat *c = &s->of[id];
        if (c->calls == 0 && c->rejected == 0) {
            continue;
        }
        double us = (double)c->ns / 1000.0;
        str_printf(to,
                   "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f,"
                   "rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64 "\r\n",
                   command_by_id(id)->full_name, c->calls, c->ns / 1000,
                   c->calls == 0 ? 0.0 : us / (double)c->calls, c->rejected, c->failed);
    }
}

/* The number behind `field` in a line; 0: it has none. */
static uint64_t number_in(struct slice line, const char *field)
{
    uint64_t v = 0;
    const char *at = memmem(line.ptr, line.len, field, strlen(field));
    if (at != NULL) {
        const char *end = line.ptr + line.len;
        at += strlen(field);
        for (; at < end && *at >= '0' && *at <= '9'; at++) {
            v = v * 10 + (uint64_t)(*at - '0');
        }
    }
    return v;
}

static struct cmdstat *find_by_name(struct cmdstats *s, struct slice name)
{
    for (unsigned id = 1; id < CMD_MAX; id++) {
        if (slice_is(name, command_by_id(id)->full_name)) {
            return &s->of[id];
        }
    }
    return NULL;
}

static void add_line(struct cmdstats *to, struct slice line)
{
    static const char head[] = "cmdstat_";
    const size_t n = sizeof(head) - 1;
    const char *colon = memchr(line.ptr, ':', line.len);
    if (colon == NULL || line.len < n || memcmp(line.ptr, head, n) != 0) {
        return;
    }
    struct cmdstat *c = find_by_name(to, slice_of(line.ptr + n, (size_t)(colon - line.ptr) - n));
    if (c != NULL) {
        c->calls += number_in(line, ":calls=");
        c->ns += number_in(line, ",usec=") * 1000;
        c->rejected += number_in(line, ",rejected_calls=");
        c->failed += number_in(line, ",failed_calls=");
    }
}

void cmdstats_add_info(struct cmdstats *to, struct slice text)
{
    const char *end = text.ptr + text.len;
    for (const char *at = text.ptr; at < end;) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        size_t len = eol == NULL ? (size_t)(end - at) : (size_t)(eol - at);
        add_line(to, slice_of(at, len));
        at += len + 1;
    }
}

void cmdstats_info_errors(const struct cmdstats *s, struct str *to)
{
    for (size_t i = 0; i < s->code_count; i++) {
        str_printf(to, "errorstat_%s:count=%" PRIu64 "\r\n", s->codes[i].code, s->codes[i].count);
    }
}

/* "99.9", "50": six digits at most, no trailing zeros. */
static void append_percent(struct str *to, double percent)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%f", percent);
    while (len > 1 && text[len - 1] == '0') {
        len--;
    }
    len -= text[len - 1] == '.';
    str_append(to, text, (size_t)len);
}

void cmdstats_info_latency(const struct cmdstats *s, const double *percents, size_t count,
                           struct str *to)
{
    for (unsigned id = 1; id < CMD_MAX; id++) {
        const struct histogram *h = s->of[id].histogram;
        if (h == NULL || h->total == 0) {
            continue;
        }
        str_printf(to, "latency_percentiles_usec_%s:", command_by_id(id)->full_name);
        for (size_t i = 0; i < count; i++) {
            str_appendz(to, i > 0 ? ",p" : "p");
            append_percent(to, percents[i]);
            str_printf(to, "=%.3f", (double)histogram_percentile(h, percents[i]) / 1000.0);
        }
        str_appendz(to, "\r\n");
    }
}

/* --- LATENCY HISTOGRAM --- */

/* The cumulative distribution at 1, 2, 4, ... 1073741 us, Redis's steps: a power of two of
 * nanoseconds each, shown at the upper end of its bucket there. Steps that add nothing are left
 * out. Returns how many pairs there are; writes them if `w` is given. */
static size_t distribution(const struct histogram *h, struct resp_writer *w)
{
    size_t pairs = 0;
    uint64_t before = 0;
    for (unsigned bits = 10; bits <= 30 && before < h->total; bits++) {
        int64_t ns = INT64_C(1) << bits;
        uint64_t sum = bits == 30 ? h->total : histogram_up_to(h, ns);
        int64_t shown = bits == 30 ? ns - 1 : ns + (ns >> 7) - 1;
        if (sum == before) {
            continue;
        }
        before = sum;
        pairs++;
        if (w != NULL) {
            resp_int(w, shown / 1000);
            resp_int(w, (int64_t)sum);
        }
    }
    return pairs;
}

static bool has_calls(const struct cmdstats *s, unsigned id)
{
    return s->of[id].histogram != NULL && s->of[id].histogram->total > 0;
}

static void reply_one(const struct cmdstats *s, unsigned id, struct resp_writer *w)
{
    const struct histogram *h = s->of[id].histogram;
    resp_bulkz(w, command_by_id(id)->full_name);
    resp_map(w, 2);
    resp_bulkz(w, "calls");
    resp_int(w, (int64_t)h->total);
    resp_bulkz(w, "histogram_usec");
    resp_map(w, distribution(h, NULL));
    (void)distribution(h, w);
}

/* The ids that the names mean: their own, and of a container its subcommands'. Counts without `w`.
 */
static size_t reply_named(const struct cmdstats *s, const struct slice *names, size_t count,
                          struct resp_writer *w)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct command *c = command_named(names[i]);
        if (c == NULL) {
            continue;
        }
        unsigned first = c->sub_count > 0 ? c->sub_first : c->id;
        unsigned end = c->sub_count > 0 ? first + c->sub_count : first + 1U;
        for (unsigned id = first; id < end; id++) {
            if (has_calls(s, id)) {
                n++;
                if (w != NULL) {
                    reply_one(s, id, w);
                }
            }
        }
    }
    return n;
}

void cmdstats_histogram_reply(const struct cmdstats *s, const struct slice *names, size_t count,
                              struct resp_writer *w)
{
    if (count > 0) {
        resp_map(w, reply_named(s, names, count, NULL));
        (void)reply_named(s, names, count, w);
        return;
    }
    size_t n = 0;
    for (unsigned id = 1; id < CMD_MAX; id++) {
        n += has_calls(s, id);
    }
    resp_map(w, n);
    for (unsigned id = 1; id < CMD_MAX; id++) {
        if (has_calls(s, id)) {
            reply_one(s, id, w);
        }
    }
}
