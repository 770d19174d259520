// SPDX-License-Identifier: BSD-3-Clause
/* dump.rdb: files that redis-server reads and writes (RDB version 10, Redis 7.0), as a whole data
 * set at one moment. For getting data in and out; what a node itself relies on are its snapshots
 * and its log (snapshot.h, wal.h).
 *
 * Written from views of all held shards that begin together, in slices of the loop; the jobs write
 * and may run on another thread, one after the other. Pure. */
#pragma once

#include "node/persist/view.h"

#include "common/base/disk.h"
#include "common/base/err.h"
#include "common/base/str.h"

struct chunk;
struct rdb_save;

enum rdb_task { RDB_WRITE, RDB_RENAME, RDB_REMOVE };

struct rdb_job {
    struct rdb_save *save;
    enum rdb_task task;
    char *bytes;
    size_t len;
    struct chunk *tail; /* bytes behind them; NULL: none */
    int error;
};
void rdb_job_run(struct rdb_job *job);  /* any thread */
void rdb_job_done(struct rdb_job *job); /* the node's */

struct rdb_save_port {
    void *arg;
    void (*run)(void *arg, struct rdb_job *job);
    bool served_only; /* of the shards that are held, those that are served here */
    bool no_keys;     /* libraries alone */
};

/* Begins: the file will hold the keyspace as it is now, in place of what has that name. `compress`:
 * rdbcompression. NULL: *error. */
struct rdb_save *rdb_save_new(struct disk *disk, const char *name, struct keyspace *ks,
                              bool compress, int64_t wall_ms, const struct rdb_save_port *port,
                              int *error);
/* A library of functions, before the first step. */
void rdb_save_library(struct rdb_save *s, struct slice code);
/* No job may be under way (rdb_save_busy). */
void rdb_save_free(struct rdb_save **s);

enum rdb_save_state {
    RDB_SAVE_MORE,  /* step again */
    RDB_SAVE_WAITS, /* for jobs */
    RDB_SAVE_DONE,
    RDB_SAVE_FAILED, /* rdb_save_error; 0: a view broke, begin again */
};
enum rdb_save_state rdb_save_step(struct rdb_save *s, size_t bytes);
enum rdb_save_state rdb_save_state(const struct rdb_save *s);
bool rdb_save_busy(const struct rdb_save *s);
int rdb_save_error(const struct rdb_save *s);
uint64_t rdb_save_keys(const struct rdb_save *s);
/* No longer wanted: it fails with 0. */
void rdb_save_cancel(struct rdb_save *s);

/* ---- reading ---- */

enum rdb_found { RDB_NONE, RDB_GOOD, RDB_BAD };

struct rdb_target {
    void *arg;
    int64_t now_ms; /* what expired before is left out */
    /* Takes `o`. idle_s, freq: -1 if not told. */
    void (*key)(void *arg, int db, struct object *o, int64_t idle_s, int freq);
    /* A library of functions; false: it cannot be taken (`why`), and the file is bad. NULL: they
     * are counted only. */
    bool (*take_code)(void *arg, struct slice code, struct str *why);
};
struct rdb_counts {
    uint64_t keys;
    uint64_t expired;
    uint64_t functions; /* libraries of them */
};
/* Keys are given while it reads; what was given counts only if the answer is RDB_GOOD. */
enum rdb_found rdb_load(struct disk *disk, const char *name, const struct rdb_target *target,
                        struct rdb_counts *counts, struct errmsg *err);
/* The same from memory. */
bool rdb_parse(struct slice in, const struct rdb_target *target, struct rdb_counts *counts,
               struct errmsg *err) MUSTCHECK;
