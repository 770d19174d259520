// SPDX-License-Identifier: BSD-3-Clause
/* Shared by worker.c, client.c and ask.c only. */
#pragma once

#include "proxy/back/back.h"
#include "proxy/exec/exec.h"
#include "proxy/front/worker.h"

#include "common/base/hmap.h"
#include "common/io/listen.h"
#include "common/io/thread.h"
#include "common/resp/parse.h"

#include <stdatomic.h>

#define WORKER_MAGIC   0x3043e401u
#define LISTENERS_MAX  16
#define PARSERS_SPARE  16
#define DRAIN_TICK_MS  10
#define DRAIN_LIMIT_MS 3000

enum { MAIL_ASK = 1, MAIL_ASKED, MAIL_OPTIONS, MAIL_STOP };

struct workers {
    int n;
    struct worker **all;
    struct control *control;
    struct users *users;
    struct mailbox *watcher; /* main's */
    char run_id[41];
    const char *conf_path;
    int64_t started_us;
    atomic_int port; /* the first worker's */
    bool running;
    atomic_int n_busy;     /* workers that have clients yet while all stop */
    atomic_int n_monitors; /* clients that said MONITOR */
    atomic_long n_clients; /* touched when a client comes or goes */
    atomic_ulong last_client_id;
};

struct control_wait {
    struct list link;
    uint64_t id;
    struct request *request;
};

struct worker_impl {
    struct thread thread;
    struct back *back;
    struct listener *listeners[LISTENERS_MAX];
    int n_listeners;
    int port;
    struct resp_parser parser; /* for messages that come whole */
    struct resp_parser *spare[PARSERS_SPARE];
    int n_spare;
    struct hmap by_id;
    struct list doomed; /* struct client.link */
    struct loop_task bury;
    struct loop_timer tick; /* exec's */
    int64_t tick_at_us;     /* when it is due */
    struct loop_timer cron;
    struct loop_timer drain;
    int64_t drain_since_ms;
    bool stopping;
    bool idle; /* it has stopped counting in n_busy */
    bool over_memory;
    uint64_t ask_last;
    struct list control_waits;
};

/* worker.c */
void worker_accepted(void *arg, int fd);

/* ask.c */
void worker_mail(void *arg, struct mail *m);
void worker_stop_soon(struct worker *w);
void worker_apply_options(struct worker *w);
void worker_drop_waits(struct worker *w);
