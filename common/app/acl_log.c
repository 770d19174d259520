// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/acl_log.h"

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/resp/errors.h"

#define ACL_LOG_MAGIC 0x61636c6cu
#define SAME_MS       60000 /* so long the same refusal is the same entry */
#define SAME_LOOK     10    /* among so many of the newest */
#define SHOWN_DEFAULT 10

struct acl_log {
    uint32_t magic;
    struct list entries; /* newest first */
    size_t len;
    size_t len_max;
};

struct acl_log_entry {
    struct list link;
    int64_t wall_ms;
    uint64_t count;
    enum acl_answer why;
    const char *context;
    struct str object;
    struct str user;
    struct str client;
};

struct acl_log *acl_log_new(void)
{
    struct acl_log *l = mem_zalloc(sizeof(*l));
    l->magic = ACL_LOG_MAGIC;
    l->len_max = ACL_LOG_DEFAULT;
    list_init(&l->entries);
    return l;
}

static void free_entry(struct acl_log_entry *e)
{
    str_fini(&e->object);
    str_fini(&e->user);
    str_fini(&e->client);
    mem_free(e);
}

static void shorten(struct acl_log *l, size_t to)
{
    while (l->len > to) {
        struct acl_log_entry *e = container_of(l->entries.prev, struct acl_log_entry, link);
        list_remove(&e->link);
        free_entry(e);
        l->len--;
    }
}

void acl_log_free(struct acl_log **lp)
{
    struct acl_log *l = *lp;
    *lp = NULL;
    if (l != NULL) {
        shorten(l, 0);
        l->magic = 0;
        mem_free(l);
    }
}

void acl_log_set_len_max(struct acl_log *l, int64_t entries)
{
    CHECK_OBJ(l, ACL_LOG_MAGIC);
    l->len_max = (size_t)MAX(entries, 0);
    shorten(l, l->len_max);
}

struct acl_log_entry *acl_log_entry_new(int64_t wall_ms, enum acl_answer why, const char *context,
                                        struct slice object, struct slice user, struct slice client)
{
    struct acl_log_entry *e = mem_zalloc(sizeof(*e));
    list_init(&e->link);
    e->wall_ms = wall_ms;
    e->count = 1;
    e->why = why;
    e->context = context;
    str_append_slice(&e->object, object);
    str_append_slice(&e->user, user);
    str_append_slice(&e->client, client);
    return e;
}

static bool same(const struct acl_log_entry *a, const struct acl_log_entry *b)
{
    return a->why == b->why && strcmp(a->context, b->context) == 0 &&
           b->wall_ms - a->wall_ms <= SAME_MS &&
           slice_eq(str_slice(&a->object), str_slice(&b->object)) &&
           slice_eq(str_slice(&a->user), str_slice(&b->user));
}

void acl_log_push(struct acl_log *l, struct acl_log_entry *e)
{
    CHECK_OBJ(l, ACL_LOG_MAGIC);
    int look = SAME_LOOK;
    LIST_FOREACH_SAFE(it, &l->entries) {
        struct acl_log_entry *old = container_of(it, struct acl_log_entry, link);
        if (look-- == 0) {
            break;
        }
        if (same(old, e)) {
            e->count += old->count;
            list_remove(&old->link);
            free_entry(old);
            l->len--;
            break;
        }
    }
    list_prepend(&l->entries, &e->link);
    l->len++;
    shorten(l, l->len_max);
}

static void reply_entry(const struct acl_log_entry *e, int64_t wall_ms, struct resp_writer *w)
{
    resp_map(w, 7);
    resp_bulkz(w, "count");
    resp_int(w, (int64_t)e->count);
    resp_bulkz(w, "reason");
    resp_bulkz(w, acl_answer_name(e->why));
    resp_bulkz(w, "context");
    resp_bulkz(w, e->context);
    resp_bulkz(w, "object");
    resp_bulk(w, str_slice(&e->object));
    resp_bulkz(w, "username");
    resp_bulk(w, str_slice(&e->user));
    resp_bulkz(w, "age-seconds");
    resp_double(w, (double)(wall_ms - e->wall_ms) / 1000);
    resp_bulkz(w, "client-info");
    resp_bulk(w, str_slice(&e->client));
}

void acl_log_command(struct acl_log *l, const struct slice *argv, size_t argc, int64_t wall_ms,
                     struct resp_writer *w)
{
    int64_t n = SHOWN_DEFAULT;
    CHECK_OBJ(l, ACL_LOG_MAGIC);
    if (argc == 3 && slice_is(argv[2], "reset")) {
        shorten(l, 0);
        resp_ok(w);
        return;
    }
    if (argc == 3 && !num_parse_i64(argv[2], &n)) {
        resp_error(w, ERR_NOT_INT);
        return;
    }
    size_t shown = n < 0 ? 0 : MIN((size_t)n, l->len);
    resp_array(w, shown);
    LIST_FOREACH(it, &l->entries) {
        if (shown-- == 0) {
            break;
        }
        reply_entry(container_of(it, struct acl_log_entry, link), wall_ms, w);
    }
}
