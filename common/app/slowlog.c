// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/slowlog.h"

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/str.h"
#include "common/cmd/reply.h"
#include "common/resp/errors.h"

#include <stdio.h>

#define SLOWLOG_MAGIC      0x736c6f77u
#define ARGUMENTS_MAX      32
#define ARGUMENT_BYTES_MAX 128
#define GET_DEFAULT        10

struct slowlog {
    uint32_t magic;
    struct list entries; /* newest first */
    size_t len;
    size_t len_max;
    int64_t threshold_us;
    int64_t next_id;
};

struct slowlog_entry {
    struct list link;
    int64_t id;
    int64_t time_s;
    int64_t us;
    struct str name;
    char peer[128];
    size_t argc;
    struct str argv[ARGUMENTS_MAX];
};

struct slowlog *slowlog_new(void)
{
    struct slowlog *s = mem_zalloc(sizeof(*s));
    s->magic = SLOWLOG_MAGIC;
    s->len_max = 128;
    s->threshold_us = 10000;
    list_init(&s->entries);
    return s;
}

void slowlog_free(struct slowlog **sp)
{
    struct slowlog *s = *sp;
    *sp = NULL;
    if (s != NULL) {
        slowlog_reset(s);
        s->magic = 0;
        mem_free(s);
    }
}

void slowlog_set_threshold(struct slowlog *s, int64_t us)
{
    s->threshold_us = us;
}

void slowlog_set_len_max(struct slowlog *s, int64_t entries)
{
    s->len_max = (size_t)MAX(entries, 0);
}

static void copy_argument(struct str *to, struct slice arg)
{
    size_t kept = MIN(arg.len, (size_t)ARGUMENT_BYTES_MAX);
    str_append(to, arg.ptr, kept);
    if (kept < arg.len) {
        str_printf(to, "... (%zu more bytes)", arg.len - kept);
    }
}

struct slowlog_entry *slowlog_entry_new(int64_t wall_ms, int64_t us, const struct slice *argv,
                                        size_t argc, const char *peer, struct slice client_name)
{
    size_t shown = MIN(argc, (size_t)ARGUMENTS_MAX);
    struct slowlog_entry *e = mem_zalloc(sizeof(*e));
    list_init(&e->link);
    e->time_s = wall_ms / 1000;
    e->us = us;
    e->argc = shown;
    (void)snprintf(e->peer, sizeof(e->peer), "%s", peer);
    str_append_slice(&e->name, client_name);
    for (size_t i = 0; i < shown; i++) {
        if (i == ARGUMENTS_MAX - 1 && shown < argc) {
            str_printf(&e->argv[i], "... (%zu more arguments)", argc - shown + 1);
        } else {
            copy_argument(&e->argv[i], argv[i]);
        }
    }
    return e;
}

void slowlog_entry_free(struct slowlog_entry **ep)
{
    struct slowlog_entry *e = *ep;
    *ep = NULL;
    if (e == NULL) {
        return;
    }
    for (size_t i = 0; i < e->argc; i++) {
        str_fini(&e->argv[i]);
    }
    str_fini(&e->name);
    mem_free(e);
}

static void drop_oldest(struct slowlog *s)
{
    struct slowlog_entry *e = container_of(s->entries.prev, struct slowlog_entry, link);
    list_remove(&e->link);
    s->len--;
    slowlog_entry_free(&e);
}

void slowlog_push(struct slowlog *s, struct slowlog_entry *e)
{
    CHECK_OBJ(s, SLOWLOG_MAGIC);
    e->id = s->next_id++;
    list_prepend(&s->entries, &e->link);
    s->len++;
    while (s->len > s->len_max) {
        drop_oldest(s);
    }
}

void slowlog_add(struct slowlog *s, int64_t wall_ms, int64_t us, const struct slice *argv,
                 size_t argc, const char *peer, struct slice client_name)
{
    CHECK_OBJ(s, SLOWLOG_MAGIC);
    if (slowlog_wants(s->threshold_us, us)) {
        slowlog_push(s, slowlog_entry_new(wall_ms, us, argv, argc, peer, client_name));
    }
}

size_t slowlog_len(const struct slowlog *s)
{
    return s->len;
}

void slowlog_reset(struct slowlog *s)
{
    CHECK_OBJ(s, SLOWLOG_MAGIC);
    while (s->len > 0) {
        drop_oldest(s);
    }
}

static void reply_entry(const struct slowlog_entry *e, struct resp_writer *w)
{
    resp_array(w, 6);
    resp_int(w, e->id);
    resp_int(w, e->time_s);
    resp_int(w, e->us);
    resp_array(w, e->argc);
    for (size_t i = 0; i < e->argc; i++) {
        resp_bulk(w, str_slice(&e->argv[i]));
    }
    resp_bulkz(w, e->peer);
    resp_bulk(w, str_slice(&e->name));
}

static void get(const struct slowlog *s, const struct slice *count_arg, struct resp_writer *w)
{
    int64_t count = GET_DEFAULT;
    if (count_arg != NULL && (!num_parse_i64(*count_arg, &count) || count < -1)) {
        resp_error(w, "ERR count should be greater than or equal to -1");
        return;
    }
    size_t n = count < 0 ? s->len : MIN(s->len, (size_t)count);
    resp_array(w, n);
    LIST_FOREACH(it, &s->entries) {
        if (n-- == 0) {
            break;
        }
        reply_entry(container_of(it, struct slowlog_entry, link), w);
    }
}

static void help(struct resp_writer *w)
{
    static const char *const lines[] = {
        "GET [<count>]",
        "    The newest entries, 10 if no count is given, all for -1. Of each: its number, when it",
        "    ended, the microseconds it took, its arguments, the client's address and name.",
        "LEN",
        "    Entries in the log.",
        "RESET",
        "    Empties the log.",
        NULL,
    };
    command_help_reply(w, "SLOWLOG", lines);
}

void slowlog_command(struct slowlog *s, const struct slice *argv, size_t argc,
                     struct resp_writer *w)
{
    CHECK_OBJ(s, SLOWLOG_MAGIC);
    if (argc < 2) {
        resp_errorf(w, ERR_WRONG_ARGS, "slowlog");
    } else if (argc <= 3 && slice_is(argv[1], "get")) {
        get(s, argc == 3 ? &argv[2] : NULL, w);
    } else if (argc == 2 && slice_is(argv[1], "len")) {
        resp_int(w, (int64_t)s->len);
    } else if (argc == 2 && slice_is(argv[1], "reset")) {
        slowlog_reset(s);
        resp_ok(w);
    } else if (argc == 2 && slice_is(argv[1], "help")) {
        help(w);
    } else {
        resp_errorf(w,
                    "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try SLOWLOG "
                    "HELP.",
                    (int)MIN(argv[1].len, (size_t)128), argv[1].ptr);
    }
}
