// SPDX-License-Identifier: BSD-3-Clause
/* A worker: one thread with its loop, listener, clients, lanes, map snapshot and counters; nothing
 * of it is touched by another thread but its mailbox. Admin handlers run in the worker of the
 * client that asked; what concerns all workers goes by workers_ask().
 *
 * The map: worker_map() is the snapshot in use; borrowed until the handler returns. */
#pragma once

#include "proxy/exec/local.h"
#include "proxy/front/counters.h"

#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/str.h"
#include "common/io/loop.h"
#include "common/io/mailbox.h"
#include "common/model/map.h"

struct acl_log;
struct acl_users;
struct back_totals;
struct client;
struct control;
struct exec;
struct observe;
struct users;
struct proxy_options;
struct workers;

/* What admin keeps until a request of this worker is answered; the worker may end before. */
struct worker_open {
    struct list link;
    /* Finishes the request, if nodes are not being asked for it just now, and frees. */
    void (*end)(struct worker_open *o);
};

struct worker {
    uint32_t magic;
    int index;
    struct workers *all;
    struct loop *loop;
    struct mailbox *mailbox;
    struct exec *exec;
    struct list clients; /* struct client.link, oldest first */
    struct list open;    /* struct worker_open.link */
    size_t n_clients;
    uint32_t n_monitors; /* of them */
    struct counters counters;
    struct observe *observe;       /* calls, errors, slow log */
    struct acl_users *users;       /* a reference; see users.h */
    struct acl_log *acl_log;       /* NULL but in the first worker */
    struct proxy_options *options; /* this worker's copy; replaced by workers_set_options */
    uint64_t settings_version;     /* of the record of what CONFIG SET has given to all nodes */
    struct worker_impl *impl;
};

/* --- for main.c --- */

/* Descriptors that are not clients: lanes, ears, the coordinator's links, files. */
#define WORKERS_SPARE_FDS 1024

struct workers_config {
    const struct proxy_options *options; /* copied */
    const struct local_table *local;
    struct control *control; /* NULL in tests: no coordinator */
    const char *conf_path;   /* NULL: none was given */
    struct mailbox *watcher; /* gets WORKERS_OPTIONS; NULL: nobody */
};

/* Mail to the watcher: what the options are now. */
enum { WORKERS_OPTIONS = 200 };
struct workers_options_mail {
    struct mail mail;
    struct proxy_options *options;
};
void workers_options_mail_free(struct workers_options_mail *m);

/* Listens with all workers; no thread runs yet. NULL and err. */
struct workers *workers_new(const struct workers_config *c, struct errmsg *err);
void workers_start(struct workers *a);
/* Answers what is under way, closes, ends the threads; 3 s at most. */
void workers_stop(struct workers *a);
void workers_free(struct workers **a);
/* In tests: gives every worker a map (takes the reference). */
void workers_set_map(struct workers *a, struct map *m);

/* --- for admin --- */

int workers_count(const struct workers *a);
int64_t workers_started_us(const struct workers *a); /* as loop_now_us: for uptime */
int workers_port(const struct workers *a);
const char *workers_run_id(const struct workers *a);    /* 40 hexadecimal digits */
const char *workers_conf_path(const struct workers *a); /* NULL: none was given */
struct control *workers_control(const struct workers *a);
struct users *workers_users(const struct workers *a);
/* Clients of all workers, this moment. */
size_t workers_clients(const struct workers *a);

struct map *worker_map(const struct worker *w); /* NULL before the first one came */
struct client *worker_client_by_id(const struct worker *w, uint64_t id);
void worker_back_totals(const struct worker *w, struct back_totals *out);

/* Runs `visit` in every worker's thread (this one's included) and collects what each appends to its
 * answer; then `done` runs in this worker's thread, answers in worker order. `arg` must stay valid
 * and unchanged by the visits until done. Never blocks. */
typedef void (*worker_visit_fn)(struct worker *w, void *arg, struct str *answer);
typedef void (*workers_done_fn)(struct worker *asker, void *arg, struct str *answers, int n);
void workers_ask(struct worker *asker, worker_visit_fn visit, void *arg, workers_done_fn done);

/* Hands a request to the coordinator's thread (control_admin); its answer becomes the request's
 * reply.
 */
enum local_result worker_ask_control(struct local_call *c, const struct slice *argv, size_t argc);

/* CONFIG SET: `options` is the new whole set; every worker and the coordinator get a copy. The
 * caller keeps `options`. Takes effect from each worker's next turn; in the caller's at once. */
void workers_set_options(struct worker *from, const struct proxy_options *options);

struct control_settings;
/* What the coordinator is told of the options; strings are borrowed from them. */
void control_settings_of(const struct proxy_options *o, struct control_settings *s);
