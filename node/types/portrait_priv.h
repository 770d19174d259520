// SPDX-License-Identifier: BSD-3-Clause
/* What the types that can be portrayed share with portrait.c. A value has a list of its portraits,
 * NULL nearly always: whoever changes an element tests that and says so before. */
#pragma once

#include "node/types/portrait.h"
#include "node/types/stream_id.h"

#include "common/base/hmap.h"

struct members;
struct chunk;

struct portrait_kind {
    /* As portrait_step. */
    bool (*step)(struct portrait *p, size_t budget, struct str *to);
    void (*fini)(struct portrait *p); /* NULL: nothing to do */
};

struct portrait {
    uint32_t magic;
    bool done;
    bool compress;
    const struct portrait_kind *kind;
    struct portrait **slot; /* where the value has the first of its portraits */
    struct portrait *next;
    struct object *orphan; /* the value's, freed by all others */
    void **kept;           /* allocations of the value that it let go, for all its portraits */
    size_t n_kept;
    size_t cap_kept;
    struct str head;
    struct str early; /* elements that were written before their turn */
    struct hmap seen; /* names of those, and of such as came later */
    union {
        struct {
            const struct members *table;
            void (*write)(struct str *to, const void *entry, bool compress);
            unsigned name_at;
            uint64_t cursor; /* of members_scan */
        } members;
        struct {
            struct chunk *chunk; /* shared with the value, until that moves to another one */
            size_t len;          /* of it, as it was */
            size_t at;
            char **blocks; /* those that have changed since, as they were; NULL: none has */
        } bytes;
        struct {
            void *nodes; /* as the list has them */
            size_t n;
            size_t at;
        } list;
        struct {
            struct stream_id next; /* blocks below it are behind us */
            bool blocks_done;
            struct str tail; /* groups and numbers */
            size_t at;       /* in it */
        } stream;
    };
};

/* A table of members: `write` appends an entry as it stands in files. */
void portrait_of_members(struct portrait *p, const struct members *table, unsigned name_at,
                         void (*write)(struct str *to, const void *entry, bool compress));

/* Before an entry is changed or taken; NULL: before one of that name is added. */
void portraits_before_member(struct portrait *first, uint64_t hash, struct slice name,
                             const void *entry);

/* Of a string, before bytes from `from` up to `to` change: it has to know of no others. */
void portraits_before_bytes(struct portrait *first, size_t from, size_t to);
size_t portraits_count(const struct portrait *first);

/* Something of that name that has no place in a table: true if it is not known yet; it is now. */
bool portrait_sees(struct portrait *p, uint64_t hash, struct slice name) MUSTCHECK;
bool portrait_has_seen(const struct portrait *p, uint64_t hash, struct slice name);

/* The value lets go of an allocation that portraits may need. */
void portraits_keep(struct portrait *first, void *allocation);
