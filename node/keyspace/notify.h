// SPDX-License-Identifier: BSD-3-Clause
/* Keyspace notifications: what happened to which key, told to whoever asked for it
 * (notify-keyspace-events). Commands tell after they made the change and before they answer, with
 * Redis's names of events; what was done by an entry of the log is not told. Costs one test where
 * nobody listens. The node's thread. Pure. */
#pragma once

#include "node/keyspace/db.h"

#include "common/base/str.h"

/* In Redis's letters; the first two say where it goes, the others what is told. */
enum notify_class {
    NOTIFY_KEYSPACE = 1 << 0, /* K */
    NOTIFY_KEYEVENT = 1 << 1, /* E */
    NOTIFY_GENERIC = 1 << 2,  /* g */
    NOTIFY_STRING = 1 << 3,   /* $ */
    NOTIFY_LIST = 1 << 4,     /* l */
    NOTIFY_SET = 1 << 5,      /* s */
    NOTIFY_HASH = 1 << 6,     /* h */
    NOTIFY_ZSET = 1 << 7,     /* z */
    NOTIFY_EXPIRED = 1 << 8,  /* x */
    NOTIFY_EVICTED = 1 << 9,  /* e */
    NOTIFY_STREAM = 1 << 10,  /* t */
    NOTIFY_KEY_MISS = 1 << 11 /* m */,
    NOTIFY_MODULE = 1 << 12, /* d */
    NOTIFY_NEW = 1 << 13,    /* n */
    NOTIFY_ALL = NOTIFY_GENERIC | NOTIFY_STRING | NOTIFY_LIST | NOTIFY_SET | NOTIFY_HASH |
                 NOTIFY_ZSET | NOTIFY_EXPIRED | NOTIFY_EVICTED | NOTIFY_STREAM |
                 NOTIFY_MODULE, /* A */
};

/* notify-keyspace-events: letters as classes; false: one of them is none. */
bool notify_read(struct slice letters, uint32_t *classes) MUSTCHECK;
/* Back, in Redis's order. */
void notify_write(uint32_t classes, struct str *to);

/* One of the classes; the event's name, "lpush". */
static inline void notify(const struct db *db, uint32_t class, const char *event, struct slice key)
{
    if (UNLIKELY((db->ks->settings.notify_events & class) != 0) && !db->applying &&
        db->ks->notify != NULL) {
        db->ks->notify(db->ks->notify_arg, db->index, class, event, key);
    }
}
