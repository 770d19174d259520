// SPDX-License-Identifier: BSD-3-Clause
/* MEMORY: of the proxy and all nodes. MEMORY USAGE has a key and goes its way. */
#include "proxy/admin/admin_priv.h"

#include "common/base/mem.h"
#include "common/cmd/reply.h"
#include "common/resp/value.h"

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

/* --- STATS: numbers of the same name are added, ratios are the first node's --- */

static const struct resp_value *value_of(const struct resp_value *map, struct slice name)
{
    for (size_t i = 0; map != NULL && i + 1 < map->count; i += 2) {
        if (slice_eq(map->items[i].text, name)) {
            return &map->items[i + 1];
        }
    }
    return NULL;
}

static bool is_list(const struct resp_value *v)
{
    return v->type == RESP_MAP || v->type == RESP_ARRAY;
}

static void put_sum(struct resp_writer *w, struct resp_value *const *maps, size_t n,
                    struct slice name, const struct resp_value *first)
{
    int64_t sum = 0;
    if (first->type != RESP_INT) {
        resp_bulk(w, first->text);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct resp_value *v = value_of(maps[i], name);
        sum += v != NULL && v->type == RESP_INT ? v->number : 0;
    }
    resp_int(w, sum);
}

static void merge_stats(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    struct resp_value **maps = mem_zalloc((n + 1) * sizeof(struct resp_value *));
    const struct resp_value *first = NULL;
    size_t flat = 0;
    (void)arg;
    for (size_t i = 0; i < n; i++) {
        maps[i] = resp_value_parse(answers[i].reply);
        if (maps[i] != NULL && !is_list(maps[i])) {
            resp_value_free(&maps[i]);
        }
        first = first == NULL ? maps[i] : first;
    }
    for (size_t i = 0; first != NULL && i + 1 < first->count; i += 2) {
        flat += !is_list(&first->items[i + 1]);
    }
    if (first == NULL) {
        resp_error(c->w, "ERR no node answered");
    } else {
        resp_map(c->w, flat);
        for (size_t i = 0; i + 1 < first->count; i += 2) {
            if (!is_list(&first->items[i + 1])) {
                resp_bulk(c->w, first->items[i].text);
                put_sum(c->w, maps, n, first->items[i].text, &first->items[i + 1]);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        resp_value_free(&maps[i]);
    }
    mem_free(maps);
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
