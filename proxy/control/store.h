// SPDX-License-Identifier: BSD-3-Clause
/* Where decisions are kept: records by key, each with a revision that grows by one with every
 * change, changed by compare-and-set, watched. What store_put said yes to is durable: it is there
 * after kill -9 and after a power cut.
 *
 * An interface: store_sqlite.c is the embedded one for a single proxy. One thread owns a store. */
#pragma once

#include "common/base/err.h"
#include "common/base/str.h"

struct store;

enum store_result {
    STORE_OK,
    STORE_CONFLICT, /* the record has another revision by now */
    STORE_FAILED,   /* the world's fault (disk full): nothing was changed; may be tried again */
};

/* Called after a record changed, whoever changed it. Not from inside the put that changes it. */
typedef void (*store_watch_fn)(void *arg, const char *key, uint64_t revision);

struct store_ops {
    bool (*get)(struct store *s, const char *key, struct str *value, uint64_t *revision,
                struct errmsg *err);
    enum store_result (*put)(struct store *s, const char *key, uint64_t expected,
                             struct slice value, struct errmsg *err);
    void (*watch)(struct store *s, store_watch_fn fn, void *arg);
    void (*poll)(struct store *s);
    void (*free)(struct store *s);
};

struct store {
    const struct store_ops *ops;
};

/* The embedded store in the directory, made if it is not there. NULL and err: another process has
 * it open, or it is damaged. */
struct store *store_sqlite_open(const char *dir, struct errmsg *err);

/* Appends to `value`; revision 0: there is no such record. False: it cannot be read. */
static inline bool store_get(struct store *s, const char *key, struct str *value,
                             uint64_t *revision, struct errmsg *err)
{
    return s->ops->get(s, key, value, revision, err);
}

/* Sets the record, which becomes revision expected + 1, if it has revision `expected` (0: is not
 * there yet). */
MUSTCHECK static inline enum store_result store_put(struct store *s, const char *key,
                                                    uint64_t expected, struct slice value,
                                                    struct errmsg *err)
{
    return s->ops->put(s, key, expected, value, err);
}

/* One watcher; NULL ends it. */
static inline void store_watch(struct store *s, store_watch_fn fn, void *arg)
{
    s->ops->watch(s, fn, arg);
}

/* Now and then: calls the watcher for what has changed. */
static inline void store_poll(struct store *s)
{
    s->ops->poll(s);
}

static inline void store_free(struct store **s)
{
    if (*s != NULL) {
        (*s)->ops->free(*s);
        *s = NULL;
    }
}
