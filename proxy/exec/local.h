// SPDX-License-Identifier: BSD-3-Clause
/* Commands that the proxy answers itself: the seam between exec (which queues, orders and delivers)
 * and proxy/admin (which knows the answers). main.c makes one table at start; it is immutable while
 * workers run, so all of them share it.
 *
 * A handler writes exactly one reply. LOCAL_DONE: it is in `w`. LOCAL_LATER: the request stays open
 * until the handler's own code calls local_finish() with the same request, from the worker's
 * thread; that must happen even if the client has gone (request->session is NULL then). Arguments
 * are borrowed for the call: copy what is needed later. Inside MULTI handlers run at EXEC, and
 * their replies are put at their place; LOCAL_LATER is allowed. */
#pragma once

#include "common/base/slice.h"
#include "common/resp/write.h"

struct command;
struct exec;
struct request;
struct session;

enum local_result { LOCAL_DONE, LOCAL_LATER };

struct local_call {
    struct exec *exec;
    void *worker; /* struct worker of front: exec does not look into it */
    struct session *session;
    struct request *request;
    const struct command *command; /* the subcommand's row where there is one */
    const struct slice *argv;      /* argv[0] is the command's name */
    size_t argc;
    struct resp_writer *w;
    bool fanned; /* local_fan was called: set by it, for a merge function that asks again; or by a
                    merge function that writes nothing and calls local_finish() later */
};
typedef enum local_result (*local_fn)(struct local_call *c);

enum {
    LOCAL_ORDERED = 1,  /* runs only when the client's earlier requests are all answered */
    LOCAL_IN_MULTI = 2, /* runs at once inside MULTI instead of being queued (QUIT, RESET) */
};

struct local_entry {
    local_fn fn; /* NULL: goes to a node */
    unsigned flags;
};

/* Indexed by the command table's ids; a container's row serves its subcommands that have none. */
struct local_table {
    struct local_entry *entries;
    size_t count;
};
struct local_table *local_table_new(void);
void local_table_free(struct local_table **t);
void local_table_set(struct local_table *t, int command_id, local_fn fn, unsigned flags);

/* Completes a LOCAL_LATER request: `reply` is one whole RESP reply in request->proto, moved away.
 */
void local_finish(struct exec *x, struct request *r, struct outbuf *reply);
void local_finish_slice(struct exec *x, struct request *r, struct slice reply);

/* The answers of all nodes to one command. Slices are valid during the call. */
struct fan_answer {
    const char *node_id;
    struct slice reply; /* a whole RESP reply; an error "-..." if the node could not be asked */
};
/* Writes the one merged reply, or asks the nodes again (local_fan with the same call) and writes
 * nothing: that one's merge function replies then. `arg` is as given; freed by the callee if it
 * needs that. */
typedef void (*fan_merge_fn)(struct local_call *c, const struct fan_answer *answers, size_t n,
                             void *arg);
/* Sends a command to every node that is up (each once, by its write lane, in order with the
 * client's writes) and merges. NULL merge: the command's response policy from the table, else the
 * first error, else the first reply. Returns LOCAL_LATER, for `return local_fan(...)`. In the merge
 * function c->argv is empty. */
enum local_result local_fan(struct local_call *c, const struct slice *argv, size_t argc,
                            fan_merge_fn merge, void *arg);
/* The same, each node with words of its own; false: that node is left out. Words are borrowed for
 * the call. */
typedef bool (*fan_words_fn)(void *arg, const char *node_id, const struct slice **argv,
                             size_t *argc);
enum local_result local_fan_each(struct local_call *c, fan_words_fn words, fan_merge_fn merge,
                                 void *arg);
/* Passes the command on to one node as any plain command: the key's if key.ptr != NULL, else any.
 */
enum local_result local_forward(struct local_call *c, const struct slice *argv, size_t argc,
                                struct slice key);
