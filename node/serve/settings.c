// SPDX-License-Identifier: BSD-3-Clause
#include "node/serve/settings.h"

#include "node/keyspace/notify.h"

#include "common/base/num.h"

#include <ctype.h>

static const char *const log_level_names[] = {"debug",   "verbose", "notice",
                                              "warning", "nothing", NULL};
static const char *const log_format_names[] = {"text", "json", NULL};
static const char *const protection_names[] = {"no", "yes", "local", NULL};
static const char *const pubsub_default_names[] = {"allchannels", "resetchannels", NULL};
static const char *const appendfsync_names[] = {"always", "everysec", "no", NULL};
/* As enum evict_policy numbers them. */
static const char *const maxmemory_policy_names[] = {
    "volatile-lru",   "volatile-lfu", "volatile-random",
    "volatile-ttl",   "allkeys-lru",  "allkeys-lfu",
    "allkeys-random", "noeviction",   NULL};

/* The next word of `v`, cut off from it; false at the end. */
static bool next_word(struct slice *v, struct slice *word)
{
    while (v->len > 0 && isspace((unsigned char)v->ptr[0])) {
        *v = slice_of(v->ptr + 1, v->len - 1);
    }
    size_t n = 0;
    while (n < v->len && !isspace((unsigned char)v->ptr[n])) {
        n++;
    }
    *word = slice_of(v->ptr, n);
    *v = slice_of(v->ptr + n, v->len - n);
    return n > 0;
}

/* --- maxmemory-clients --- */

static bool notify_parse(void *field, struct slice value, struct errmsg *err)
{
    if (notify_read(value, field)) {
        return true;
    }
    errmsg_set(err, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    return false;
}

static void notify_print(const void *field, struct str *to)
{
    notify_write(*(const uint32_t *)field, to);
}

static bool memory_share_parse(void *field, struct slice value, struct errmsg *err)
{
    struct memory_share next = {0};
    next.percent = value.len > 1 && value.ptr[value.len - 1] == '%';
    if (next.percent) {
        if (!num_parse_u64(slice_of(value.ptr, value.len - 1), &next.amount)) {
            errmsg_set(err, "argument must be a memory or percent value");
            return false;
        }
        if (next.amount > 100) {
            errmsg_set(err, "percentage argument must be less or equal to 100");
            return false;
        }
    } else if (!num_parse_memory(value, &next.amount)) {
        errmsg_set(err, "argument must be a memory or percent value");
        return false;
    }
    *(struct memory_share *)field = next;
    return true;
}

static void memory_share_print(const void *field, struct str *to)
{
    const struct memory_share *m = field;
    str_printf(to, "%llu%s", (unsigned long long)m->amount, m->percent ? "%" : "");
}

uint64_t settings_clients_limit(const struct settings *s)
{
    const struct memory_share *m = &s->maxmemory_clients;
    return m->percent ? (uint64_t)s->maxmemory / 100 * m->amount : m->amount;
}

/* --- oom-score-adj-values --- */

static const char *const oom_score_adj_names[] = {"no", "yes", "relative", "absolute", NULL};

static bool oom_values_parse(void *field, struct slice value, struct errmsg *err)
{
    struct oom_score_values next = {{0}};
    struct slice word;
    int n = 0;
    while (next_word(&value, &word)) {
        int64_t v;
        if (n == 3 || !num_parse_i64(word, &v) || v < -2000 || v > 2000) {
            errmsg_set(err, "Invalid oom-score-adj-values, elements must be between -2000 and "
                            "2000.");
            return false;
        }
        next.of[n++] = (int)v;
    }
    if (n != 3) {
        errmsg_set(err, "wrong number of arguments");
        return false;
    }
    *(struct oom_score_values *)field = next;
    return true;
}

static void oom_values_print(const void *field, struct str *to)
{
    const struct oom_score_values *v = field;
    str_printf(to, "%d %d %d", v->of[0], v->of[1], v->of[2]);
}

/* --- save --- */

static bool save_parse(void *field, struct slice value, struct errmsg *err)
{
    struct save_points next = {0};
    struct slice word;
    int64_t n[2];
    int words = 0;
    while (next_word(&value, &word)) {
        if (slice_eq(word, SLICE("\"\""))) {
            continue;
        }
        if (next.n == SAVE_POINTS_MAX || !num_parse_i64(word, &n[words % 2]) ||
            n[words % 2] < (words % 2 == 0)) {
            errmsg_set(err, "Invalid save parameters");
            return false;
        }
        if (words++ % 2 == 1) {
            next.of[next.n].seconds = n[0];
            next.of[next.n++].changes = n[1];
        }
    }
    if (words % 2 != 0) {
        errmsg_set(err, "Invalid save parameters");
        return false;
    }
    *(struct save_points *)field = next;
    return true;
}

static void save_print(const void *field, struct str *to)
{
    const struct save_points *p = field;
    for (int i = 0; i < p->n; i++) {
        str_printf(to, "%s%lld %lld", i == 0 ? "" : " ", (long long)p->of[i].seconds,
                   (long long)p->of[i].changes);
    }
}

/* --- the table --- */

/* The order of these includes is their meaning. */
/* clang-format off */
static const struct option rows[] = {
#define OPTIONS_AS_ROWS struct settings
#include "common/app/options_macros.h"
#include "node/options.def"
#include "common/app/options_macros.h"
};
/* clang-format on */

const struct options_table *settings_options(void)
{
    static const struct options_table table = {
        .rows = rows,
        .count = ARRAY_LEN(rows),
        .size = sizeof(struct settings),
        .program = "shoal-node",
    };
    return &table;
}
