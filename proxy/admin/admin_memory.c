// SPDX-License-Identifier: BSD-3-Clause
/* MEMORY: of the proxy and all nodes. MEMORY USAGE has a key and goes its way. */
#include "proxy/admin/admin_priv.h"

#include "common/base/mem.h"
#include "common/cmd/reply.h"
#include "common/resp/value.h"

#include <stdio.h>

static enum local_result do_doctor(struct local_call *c)
{
    resp_verbatim(c->w, "txt",
                  SLICE("This proxy keeps no data; INFO memory adds up what its nodes say, and "
                        "MEMORY DOCTOR asked of a node tells about that one.\n"));
    return LOCAL_DONE;
}

static enum local_result do_purge(struct local_call *c)
{
    mem_purge();
    return local_fan(c, c->argv, c->argc, NULL, NULL);
}

/* --- STATS: numbers of the same name are added, ratios are made of the sums --- */

struct stats {
    struct resp_value **maps; /* a node's answer each; NULL: no map */
    size_t n;
};

static const struct resp_value *value_of(const struct resp_value *map, struct slice name)
{
    for (size_t i = 0; map != NULL && i + 1 < map->count; i += 2) {
        if (slice_eq(map->items[i].text, name)) {
            return &map->items[i + 1];
        }
    }
    return NULL;
}

static bool is_map(const struct resp_value *v)
{
    return v != NULL && (v->type == RESP_MAP || v->type == RESP_ARRAY);
}

/* Of a map within, if `within` is not empty. */
static int64_t sum_of(const struct stats *s, struct slice within, struct slice name)
{
    int64_t sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct resp_value *map = s->maps[i];
        if (within.len > 0) {
            map = value_of(map, within);
            map = is_map(map) ? map : NULL;
        }
        const struct resp_value *v = value_of(map, name);
        sum += v != NULL && v->type == RESP_INT ? v->number : 0;
    }
    return sum;
}

#define NAMED(text) sum_of(s, slice_of(NULL, 0), SLICE(text))

static double ratio_of(const struct stats *s, struct slice name)
{
    int64_t used = NAMED("total.allocated");
    int64_t active = NAMED("allocator.active");
    int64_t resident = NAMED("allocator.resident");
    int64_t rss = used + NAMED("fragmentation.bytes");
    int64_t what = slice_is(name, "dataset.percentage")              ? 100 * NAMED("dataset.bytes")
                   : slice_is(name, "peak.percentage")               ? 100 * used
                   : slice_is(name, "allocator-fragmentation.ratio") ? active
                   : slice_is(name, "allocator-rss.ratio")           ? resident
                                                                     : rss;
    int64_t of = slice_is(name, "peak.percentage")       ? NAMED("peak.allocated")
                 : slice_is(name, "allocator-rss.ratio") ? active
                 : slice_is(name, "rss-overhead.ratio")  ? resident
                                                         : used;
    return of > 0 ? (double)what / (double)of : 0;
}

/* Databases that some node has keys in stand where the first node's do: behind functions.caches. */
static size_t databases(const struct stats *s, struct resp_writer *w)
{
    size_t count = 0;
    for (int db = 0; db < 16; db++) {
        char text[16];
        struct slice name = slice_of(text, (size_t)snprintf(text, sizeof(text), "db.%d", db));
        const struct resp_value *found = NULL;
        for (size_t i = 0; i < s->n && found == NULL; i++) {
            const struct resp_value *v = value_of(s->maps[i], name);
            found = is_map(v) ? v : NULL;
        }
        count += found != NULL;
        if (found == NULL || w == NULL) {
            continue;
        }
        resp_bulk(w, name);
        resp_map(w, found->count / 2);
        for (size_t k = 0; k + 1 < found->count; k += 2) {
            resp_bulk(w, found->items[k].text);
            resp_int(w, sum_of(s, name, found->items[k].text));
        }
    }
    return count;
}

static void put_stats(const struct stats *s, const struct resp_value *first, struct resp_writer *w)
{
    size_t flat = 0;
    for (size_t i = 0; i + 1 < first->count; i += 2) {
        flat += !is_map(&first->items[i + 1]);
    }
    resp_map(w, flat + databases(s, NULL));
    for (size_t i = 0; i + 1 < first->count; i += 2) {
        struct slice name = first->items[i].text;
        if (is_map(&first->items[i + 1])) {
            continue;
        }
        resp_bulk(w, name);
        if (slice_is(name, "keys.bytes-per-key")) {
            int64_t keys = NAMED("keys.count");
            resp_int(w, keys == 0 ? 0 : NAMED("dataset.bytes") / keys);
        } else if (first->items[i + 1].type == RESP_INT) {
            resp_int(w, sum_of(s, slice_of(NULL, 0), name));
        } else {
            resp_double(w, ratio_of(s, name));
        }
        if (slice_is(name, "functions.caches")) {
            (void)databases(s, w);
        }
    }
}

static void merge_stats(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    struct stats s = {.maps = mem_zalloc((n + 1) * sizeof(struct resp_value *)), .n = n};
    const struct resp_value *first = NULL;
    (void)arg;
    for (size_t i = 0; i < n; i++) {
        s.maps[i] = resp_value_parse(answers[i].reply);
        if (s.maps[i] != NULL && !is_map(s.maps[i])) {
            resp_value_free(&s.maps[i]);
        }
        first = first == NULL ? s.maps[i] : first;
    }
    if (first == NULL) {
        resp_error(c->w, "ERR no node answered");
    } else {
        put_stats(&s, first, c->w);
    }
    for (size_t i = 0; i < n; i++) {
        resp_value_free(&s.maps[i]);
    }
    mem_free(s.maps);
}

static enum local_result do_stats(struct local_call *c)
{
    return local_fan(c, c->argv, c->argc, merge_stats, NULL);
}

static void merge_texts(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    struct str all = {0};
    (void)arg;
    for (size_t i = 0; i < n; i++) {
        struct resp_value *v = resp_value_parse(answers[i].reply);
        str_printf(&all, "node %s\n", answers[i].node_id);
        if (v != NULL) {
            str_append_slice(&all, v->text);
        }
        str_append_char(&all, '\n');
        resp_value_free(&v);
    }
    resp_verbatim(c->w, "txt", str_slice(&all));
    str_fini(&all);
}

static enum local_result do_malloc_stats(struct local_call *c)
{
    return local_fan(c, c->argv, c->argc, merge_texts, NULL);
}

static enum local_result do_help(struct local_call *c)
{
    static const char *const lines[] = {"DOCTOR",
                                        "    Tell where to look.",
                                        "MALLOC-STATS",
                                        "    Show the allocator's statistics of every node.",
                                        "PURGE",
                                        "    Give unused memory back to the system, everywhere.",
                                        "STATS",
                                        "    Show the use of memory, added over all nodes.",
                                        "USAGE <key> [SAMPLES <count>]",
                                        "    Show how much memory a key takes.",
                                        NULL};
    command_help_reply(c->w, "MEMORY", lines);
    return LOCAL_DONE;
}

void admin_memory(struct local_table *t)
{
    local_table_set(t, CMD_MEMORY_DOCTOR, do_doctor, 0);
    local_table_set(t, CMD_MEMORY_PURGE, do_purge, LOCAL_ORDERED);
    local_table_set(t, CMD_MEMORY_STATS, do_stats, LOCAL_ORDERED);
    local_table_set(t, CMD_MEMORY_MALLOC_STATS, do_malloc_stats, LOCAL_ORDERED);
    local_table_set(t, CMD_MEMORY_HELP, do_help, 0);
}
