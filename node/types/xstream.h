// SPDX-License-Identifier: BSD-3-Clause
/* Streams: entries of fields and values in the order of their ids, which only rise; and groups of
 * consumers that share them out (xstream_group.h).
 *
 * Entries are kept in blocks, listpacks in Redis's own layout (they are a form in files, too), in
 * an ordered map by the id of the first entry that the block ever had, its master. An entry that
 * has the master's fields keeps only values, and each id as the difference to the master's. Entries
 * that are deleted are marked; a block goes when its last entry does.
 *
 *   block   live | deleted | n fields | field ... | 0 | entry ...
 *   entry   flags | ms - master's | seq - master's | value ... | count of elements      same fields
 *           flags | ms .. | seq .. | n | field | value ... | count of elements
 *
 * The value of an object of type OBJECT_STREAM. Fields of struct xstream are for reading; functions
 * change it and keep `memory` exact. Owned by the table; the node's thread. Pure. */
#pragma once

#include "node/types/id_tree.h"
#include "node/types/listpack.h"
#include "node/types/object_ops.h"

#define XSTREAM_ENTRY_MAX    ((uint64_t)1 << 30) /* bytes of all fields and values of an entry */
#define XSTREAM_READ_UNKNOWN INT64_C(-1)         /* of entries_read: nobody can tell */

/* Things in the order of their names; each begins with its name (xstream_group.h). */
struct xstream_names {
    struct slice **of;
    uint32_t n;
    uint32_t cap;
};

struct xstream {
    struct id_tree blocks; /* to struct listpack * */
    uint64_t length;
    struct stream_id last_id;        /* the highest ever, or what XSETID said */
    struct stream_id first_id;       /* of those that are there; 0-0: none is */
    struct stream_id max_deleted_id; /* the highest that XDEL took */
    uint64_t entries_added;          /* ever */
    struct xstream_names groups;
    struct portrait *portraits; /* who portrays it; NULL nearly always */
    size_t memory;              /* bytes of all this, itself too */
};

extern const struct object_ops xstream_ops;

struct object *xstream_new(struct slice key, int64_t expire_ms);
static inline struct xstream *xstream_of(const struct object *o)
{
    return object_root(o);
}

/* ---- changing ---- */

/* When the last block is full. 0: no limit. */
struct xstream_limits {
    uint64_t node_max_bytes;
    uint64_t node_max_entries;
};
/* `id` is above last_id; `fields` are n pairs of at most XSTREAM_ENTRY_MAX bytes together. */
void xstream_append(struct xstream *s, struct stream_id id, const struct slice *fields, size_t n,
                    const struct xstream_limits *l);
/* False: it is not there. Sets max_deleted_id, leaves first_id to xstream_find_first. */
bool xstream_delete(struct xstream *s, struct stream_id id) MUSTCHECK;
/* After deletions. */
void xstream_find_first(struct xstream *s);

enum xstream_trim_by { XSTREAM_TRIM_NONE, XSTREAM_TRIM_LENGTH, XSTREAM_TRIM_ID };
struct xstream_trim {
    enum xstream_trim_by by;
    bool whole_blocks;   /* "~": what costs little; else exactly */
    uint64_t length;     /* at most so many stay */
    struct stream_id id; /* none below stays */
    uint64_t limit;      /* of entries that go, in whole blocks; 0: none */
};
/* How many went. */
uint64_t xstream_trim(struct xstream *s, const struct xstream_trim *t);

/* XSETID. */
void xstream_set_last_id(struct xstream *s, struct stream_id id);
void xstream_set_entries_added(struct xstream *s, uint64_t n);
void xstream_set_max_deleted(struct xstream *s, struct stream_id id);

/* ---- reading ---- */

bool xstream_has(const struct xstream *s, struct stream_id id) MUSTCHECK;
/* The last entry's id; 0-0 if there is none. */
struct stream_id xstream_top(const struct xstream *s);
/* Whether XDEL took one that may lie above `id`, so that counting from there is not exact. */
bool xstream_has_gaps_after(const struct xstream *s, struct stream_id id);
/* How many entries there ever were up to and with `id`; XSTREAM_READ_UNKNOWN. */
int64_t xstream_count_until(const struct xstream *s, struct stream_id id);

/* A walk over what is in [start, end], from either side. The stream does not change meanwhile. */
struct xstream_iter {
    const struct xstream *s;
    struct stream_id start;
    struct stream_id end;
    bool back;
    bool done;
    struct id_at block; /* the one after lp in the walk's direction, or lp's own while lp is NULL */
    const struct listpack *lp;
    struct stream_id master;
    uint64_t master_n;
    const unsigned char *master_fields;
    const unsigned char *next; /* flags of the next entry; backwards: the element before this one */
    /* the entry at hand */
    struct stream_id id;
    uint64_t n_fields;
    const unsigned char *entry; /* its flags */
    bool same_fields;
    const unsigned char *name;  /* the next field's, or among the master's */
    const unsigned char *value; /* the next element of the entry itself */
    uint64_t left;              /* elements of it not yet read */
};
void xstream_iter_init(struct xstream_iter *it, const struct xstream *s, struct stream_id start,
                       struct stream_id end, bool back);
/* False: that was the last. Sets id and n_fields. */
bool xstream_iter_next(struct xstream_iter *it) MUSTCHECK;
/* The next field of the entry at hand; at most n_fields times. */
void xstream_iter_field(struct xstream_iter *it, struct listpack_value *name,
                        struct listpack_value *value);
/* How many entries follow, at most `max`, which costs less than walking over them. */
uint64_t xstream_iter_count(const struct xstream_iter *it, uint64_t max);

/* ---- for this folder's files ---- */

/* What a block says of itself. */
struct xstream_block {
    uint64_t live;
    uint64_t deleted;
    uint64_t n_fields;
    const unsigned char *fields;
    const unsigned char *entries; /* NULL: none */
};
struct xstream_block xstream_block_of(const struct listpack *lp);
struct xstream *xstream_alloc(void);
void xstream_free(struct xstream **s);
/* Takes `lp`, of `live` entries, behind all others. */
void xstream_add_block(struct xstream *s, struct stream_id master, struct listpack *lp,
                       uint64_t live);
