// SPDX-License-Identifier: BSD-3-Clause
/* PUBSUB: nodes know who listens, over all proxies (docs/PUBSUB.md, "Counts"). */
#include "proxy/admin/admin_priv.h"

#include "common/base/hash.h"
#include "common/base/hmap.h"
#include "common/base/mem.h"
#include "common/resp/value.h"

/* The first error, as it came. */
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

/* --- CHANNELS, SHARDCHANNELS: each name once --- */

struct seen {
    struct hmap_node node;
    struct slice name;
};

static bool is_new(struct hmap *names, struct slice name)
{
    uint64_t hash = hash_bytes(name.ptr, name.len, 0);
    for (struct hmap_node *n = hmap_first(names, hash); n != NULL; n = hmap_same(n)) {
        if (slice_eq(container_of(n, struct seen, node)->name, name)) {
            return false;
        }
    }
    struct seen *s = mem_zalloc(sizeof(*s));
    s->name = name;
    hmap_insert(names, &s->node, hash);
    return true;
}

static void drop_names(struct hmap *names)
{
    struct hmap_node *next;
    for (struct hmap_node *n = hmap_begin(names); n != NULL; n = next) {
        next = hmap_next(names, n);
        hmap_remove(names, n);
        mem_free(container_of(n, struct seen, node));
    }
    hmap_fini(names);
}

static void merge_names(struct local_call *c, const struct fan_answer *answers, size_t n, void *arg)
{
    struct hmap names = {0};
    struct outbuf items = {0};
    struct resp_writer w = {.out = &items, .proto = c->w->proto};
    size_t count = 0;
    (void)arg;
    if (pass_error(c, answers, n)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct resp_value *v = resp_value_parse(answers[i].reply);
        for (size_t k = 0; v != NULL && k < v->count; k++) {
            if (is_new(&names, v->items[k].text)) {
                resp_bulk(&w, v->items[k].text);
                count++;
            }
        }
        resp_value_free(&v);
    }
    resp_array(c->w, count);
    outbuf_splice(c->w->out, &items);
    outbuf_fini(&items);
    drop_names(&names);
}

static enum local_result do_names(struct local_call *c)
{
    if (c->argc > 3) {
        resp_errorf(c->w, ERR_WRONG_ARGS, c->command->full_name);
        return LOCAL_DONE;
    }
    return local_fan(c, c->argv, c->argc, merge_names, NULL);
}

/* --- NUMSUB, SHARDNUMSUB, NUMPAT: every node that may publish on it has been told the same --- */

static void merge_counts(struct local_call *c, const struct fan_answer *answers, size_t n,
                         void *arg)
{
    struct resp_value *first = NULL;
    size_t count = (size_t)(uintptr_t)arg;
    int64_t *most = mem_zalloc((count + 1) * sizeof(*most));
    if (pass_error(c, answers, n)) {
        mem_free(most);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct resp_value *v = resp_value_parse(answers[i].reply);
        for (size_t k = 0; v != NULL && k < count && 2 * k + 1 < v->count; k++) {
            most[k] = MAX(most[k], v->items[2 * k + 1].number);
        }
        if (first == NULL) {
            first = v;
        } else {
            resp_value_free(&v);
        }
    }
    resp_array(c->w, first == NULL ? 0 : 2 * count);
    for (size_t k = 0; first != NULL && k < count; k++) {
        resp_bulk(c->w, first->items[2 * k].text);
        resp_int(c->w, most[k]);
    }
    resp_value_free(&first);
    mem_free(most);
}

static enum local_result do_counts(struct local_call *c)
{
    if (c->argc == 2) {
        resp_array(c->w, 0);
        return LOCAL_DONE;
    }
    return local_fan(c, c->argv, c->argc, merge_counts, (void *)(uintptr_t)(c->argc - 2));
}

static void merge_patterns(struct local_call *c, const struct fan_answer *answers, size_t n,
                           void *arg)
{
    int64_t most = 0;
    (void)arg;
    if (pass_error(c, answers, n)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct resp_value *v = resp_value_parse(answers[i].reply);
        most = v == NULL ? most : MAX(most, v->number);
        resp_value_free(&v);
    }
    resp_int(c->w, most);
}

static enum local_result do_numpat(struct local_call *c)
{
    return local_fan(c, c->argv, c->argc, merge_patterns, NULL);
}

void admin_pubsub(struct local_table *t)
{
    local_table_set(t, CMD_PUBSUB_CHANNELS, do_names, LOCAL_ORDERED);
    local_table_set(t, CMD_PUBSUB_SHARDCHANNELS, do_names, LOCAL_ORDERED);
    local_table_set(t, CMD_PUBSUB_NUMSUB, do_counts, LOCAL_ORDERED);
    local_table_set(t, CMD_PUBSUB_SHARDNUMSUB, do_counts, LOCAL_ORDERED);
    local_table_set(t, CMD_PUBSUB_NUMPAT, do_numpat, LOCAL_ORDERED);
}
