// SPDX-License-Identifier: BSD-3-Clause
/* --local-nodes N: starts nodes on this machine as child processes, starts them again with backoff
 * when they end, stops them with the proxy. The quick start, and what most tests use.
 *
 * Each child has a folder DIR/node-I (its data, and node.log with what it prints) and a port that
 * stays the same over restarts unless it turns out to be taken. Children are in process groups of
 * their own, so that a ctrl-C in the terminal reaches the proxy alone, which stops them in order;
 * the kernel ends them if the proxy is killed. Owner: the thread of `loop`, which must be the one
 * that lives as long as the process (the kernel ties children to the thread that started them).
 *
 *   WAITING --start--> RUNNING --exit--> WAITING (backoff doubles, back to the first after a
 *   quiet minute)     RUNNING --stop--> STOPPING --exit--> STOPPED */
#pragma once

#include "common/base/err.h"
#include "common/io/loop.h"

struct local_nodes;

struct local_nodes_settings {
    int count;
    const char *dir;
    const char *binary;      /* shoal-node; NULL: beside this program's own file */
    const char *coordinator; /* "host:port" that the nodes register with */
    int first_port;          /* 0: free ones; else first_port, first_port + 1, ... */
    bool restart;
    int64_t restart_delay_ms; /* before the first restart; doubles up to 30 s */
    const char *const *args;  /* handed on to every node, "--directive", "value", ... */
    size_t n_args;
    const char *directives; /* a line each: see local_nodes_set_directives; NULL: none */
};

/* Has the program say whether it takes the directives in `args`, and waits for its answer. False
 * and err: why not, in its words. */
bool local_nodes_check(const struct local_nodes_settings *s, struct errmsg *err);

/* Starts them all. NULL and err: no such program, folder not writable, a given port in use; then
 * none is left running. Settings are copied. */
struct local_nodes *local_nodes_new(struct loop *l, const struct local_nodes_settings *s,
                                    struct errmsg *err);
/* SIGTERM to all, SIGKILL after `limit_ms`; `done` runs on the loop when all have ended. */
typedef void (*local_nodes_done_fn)(void *arg);
void local_nodes_stop(struct local_nodes *n, int64_t limit_ms, local_nodes_done_fn done, void *arg);
/* What nodes that start from now on read from their standard input, a directive a line: passwords,
 * which anybody on the machine could see among the arguments of a process, and which may change
 * while nodes run. Copied; "" or NULL: nothing. */
void local_nodes_set_directives(struct local_nodes *n, const char *directives);
/* Kills what still runs. */
void local_nodes_free(struct local_nodes **n);
int local_nodes_count(const struct local_nodes *n);
/* Process id of node `i`, 0 while it is down; and its port. */
int local_nodes_pid(const struct local_nodes *n, int i);
int local_nodes_port(const struct local_nodes *n, int i);
