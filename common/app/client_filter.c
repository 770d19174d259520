// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/client_filter.h"

#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/base/str.h"
#include "common/cmd/acl.h"
#include "common/io/stream.h"
#include "common/resp/errors.h"

static bool read_kind(struct client_filter *f, struct slice name, struct resp_writer *w)
{
    static const struct {
        const char *name;
        enum client_kind kind;
    } kinds[] = {{"normal", CLIENT_NORMAL},
                 {"master", CLIENT_MASTER},
                 {"slave", CLIENT_REPLICA},
                 {"replica", CLIENT_REPLICA},
                 {"pubsub", CLIENT_PUBSUB}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (slice_is(name, kinds[i].name)) {
            f->kind = kinds[i].kind;
            return true;
        }
    }
    resp_errorf(w, "ERR Unknown client type '%.*s'", ARG_PRINT(name));
    return false;
}

static bool read_ids(struct client_filter *f, const struct slice *ids, size_t n,
                     struct resp_writer *w)
{
    f->ids = mem_alloc(n * sizeof(*f->ids));
    for (size_t i = 0; i < n; i++) {
        int64_t id;
        if (!num_parse_i64(ids[i], &id)) {
            resp_error(w, "ERR Invalid client ID");
            return false;
        }
        f->ids[f->n_ids++] = (uint64_t)id;
    }
    return true;
}

bool client_filter_read_list(struct client_filter *f, const struct slice *argv, size_t argc,
                             struct resp_writer *w)
{
    *f = (struct client_filter){.kind = CLIENT_ANY};
    if (argc == 2) {
        return true;
    }
    if (argc == 4 && slice_is(argv[2], "type")) {
        return read_kind(f, argv[3], w);
    }
    if (argc > 3 && slice_is(argv[2], "id")) {
        return read_ids(f, argv + 3, argc - 3, w);
    }
    resp_error(w, ERR_SYNTAX);
    return false;
}

static void keep(char **to, struct slice text)
{
    struct str copy = {0};
    str_append_slice(&copy, text);
    mem_free(*to);
    *to = str_steal(&copy);
}

static bool read_one_id(struct client_filter *f, struct slice text, struct resp_writer *w)
{
    int64_t id;
    if (!num_parse_i64(text, &id) || id < 1) {
        resp_error(w, "ERR client-id should be greater than 0");
        return false;
    }
    mem_free(f->ids);
    f->ids = mem_alloc(sizeof(*f->ids));
    f->ids[0] = (uint64_t)id;
    f->n_ids = 1;
    return true;
}

static bool read_kill_option(struct client_filter *f, const struct acl_users *users,
                             struct slice name, struct slice value, struct resp_writer *w)
{
    if (slice_is(name, "id")) {
        return read_one_id(f, value, w);
    }
    if (slice_is(name, "type")) {
        return read_kind(f, value, w);
    }
    if (slice_is(name, "addr")) {
        keep(&f->addr, value);
    } else if (slice_is(name, "laddr")) {
        keep(&f->laddr, value);
    } else if (slice_is(name, "user")) {
        if (acl_users_find(users, value) == NULL) {
            resp_errorf(w, "ERR No such user '%.*s'", ARG_PRINT(value));
            return false;
        }
        keep(&f->user, value);
    } else if (slice_is(name, "skipme") && (slice_is(value, "yes") || slice_is(value, "no"))) {
        f->skip_me = slice_is(value, "yes");
    } else {
        resp_error(w, ERR_SYNTAX);
        return false;
    }
    return true;
}

bool client_filter_read_kill(struct client_filter *f, const struct acl_users *users,
                             const struct slice *argv, size_t argc, struct resp_writer *w)
{
    *f = (struct client_filter){.kind = CLIENT_ANY};
    if (argc == 3) {
        f->old_form = true;
        keep(&f->addr, argv[2]);
        return true;
    }
    f->skip_me = true;
    for (size_t i = 2; i < argc; i += 2) {
        if (i + 1 == argc) {
            resp_error(w, ERR_SYNTAX);
            return false;
        }
        if (!read_kill_option(f, users, argv[i], argv[i + 1], w)) {
            return false;
        }
    }
    return true;
}

void client_filter_fini(struct client_filter *f)
{
    mem_free(f->ids);
    mem_free(f->addr);
    mem_free(f->laddr);
    mem_free(f->user);
    *f = (struct client_filter){.kind = CLIENT_ANY};
}

bool client_filter_matches(const struct client_filter *f, uint64_t id, enum client_kind kind,
                           bool me, struct slice user, const struct stream *s)
{
    char text[64];
    bool found = f->n_ids == 0;
    for (size_t i = 0; i < f->n_ids && !found; i++) {
        found = f->ids[i] == id;
    }
    if (!found || (f->skip_me && me) || (f->kind != CLIENT_ANY && f->kind != kind)) {
        return false;
    }
    if (f->user != NULL && !slice_eq(user, slice_str(f->user))) {
        return false;
    }
    if (f->addr != NULL) {
        stream_peer(s, text, sizeof(text));
        if (strcmp(f->addr, text) != 0) {
            return false;
        }
    }
    if (f->laddr != NULL) {
        stream_local(s, text, sizeof(text));
        if (strcmp(f->laddr, text) != 0) {
            return false;
        }
    }
    return true;
}

void client_filter_killed(const struct client_filter *f, uint64_t killed, struct resp_writer *w)
{
    if (!f->old_form) {
        resp_int(w, (int64_t)killed);
    } else if (killed > 0) {
        resp_ok(w);
    } else {
        resp_error(w, "ERR No such client");
    }
}
