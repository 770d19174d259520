// SPDX-License-Identifier: BSD-3-Clause
/* Shared among the sources of proxy/exec only. */
#pragma once

#include "proxy/exec/exec.h"
#include "proxy/exec/lane.h"
#include "proxy/exec/local.h"
#include "proxy/exec/tape.h"
#include "proxy/route/patience.h"
#include "proxy/route/retry.h"

#include "common/base/hmap.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/cmd/command.h"
#include "common/cmd/keys.h"
#include "common/resp/errors.h"
#include "common/resp/parse.h"

/* Mistakes made on purpose, in a test that must find them. */
#ifndef PLANTED
#define PLANTED(what) false
#endif

#define EXEC_MAGIC    0xe8ec0001u
#define MIX_STICKY    64 /* turns of an idle queue until a client counts as unmixed again */
#define WINDOW_BYTES  (8 * 1024 * 1024) /* of replies that one client may have under way */
#define WINDOW_LEAST  4                 /* requests that it may always have under way */
#define WINDOW_FIRST  32                /* the same of one whose replies' size is not known yet */
#define OUTPUT_PAUSE  (1024 * 1024)     /* unread replies from which a client is not parsed */
#define TICK_US       (50 * 1000)       /* how exactly deadlines are kept */
#define FREE_REQUESTS 4096
#define PINNED_IDLE   8 /* spare dedicated connections kept to a node */

#define ERR_OVERTAKEN                                                                              \
    "TRYAGAIN not executed in its order: a later command of this client was, or may have been"

/* Who serves a shard: as the current map says it, and as the nodes answer. */
struct shard_route {
    struct target
        *primary; /* takes calls; NULL: nobody, or it is not known whether `chosen` does */
    int n_readers;
    bool ever;                           /* a map had a primary */
    struct target *readers[MEMBERS_MAX]; /* replicas that may answer reads */
    int64_t shunned_us[MEMBERS_MAX];     /* until then this one gets none: it refused */
    struct target *chosen;               /* the map's primary; NULL: none */
    const struct call *probe;            /* on its way to `chosen`; NULL: none */
    int64_t probe_at_us;                 /* no probe before */
    uint32_t refusals;                   /* in a row */
    int64_t refused_us;                  /* when the first of them came */
    int64_t opened_us;                   /* when `primary` was last set by an answer */
    int64_t lost_us;                     /* since when the map has nobody for it; 0: it has */
    uint64_t mark;                       /* of the last walk that met it, and as what */
    uint32_t mark_at;
    uint64_t ahead_walk; /* of the last look at a holding client's calls on lanes, and the number */
    uint64_t ahead;      /* of its last request there for this shard */
    uint64_t sent_walk;  /* the same for what stands before a held call: the lane it went by; */
    struct lane *sent_lane; /* NULL: several, or before the shard was found to be served */
};

struct exec {
    uint32_t magic;
    uint32_t shards;
    int64_t now_us;
    struct exec_port port;
    const struct local_table *local;
    struct shard_route *routes;
    uint64_t routes_version; /* grows when a shard's primary changes */
    bool routes_changed;
    bool release; /* a shard is served again: who waits for it may go */
    struct list fates;
    struct patience patience; /* what deadlines are put off by */
    struct exec_settings settings;
    struct exec_counters counters;
    struct request *free_requests;
    uint32_t n_free_requests;
    uint32_t turn;       /* of round-robin */
    struct chunk *park;  /* small replies that wait for their turn */
    struct list holders; /* sessions with held calls, the longest waiting first */
    uint64_t hold_walk;
    bool behind_any;   /* in that walk: something stands before, on a lane; and something that */
    bool behind_multi; /* touches who knows which shards */
    uint64_t n_ended;  /* requests, ever */
    size_t n_held;
    size_t held_bytes;
    size_t n_open;      /* requests taken and not ended */
    int64_t tick_at_us; /* asked of the port; 0: not */
    struct map *map;
    struct list targets;
    struct list lanes;  /* all that are not LANE_DOWN */
    struct list spent;  /* dedicated ones to be freed at the next tick */
    struct target *any; /* where keyless commands go */
    uint64_t lane_id_last;
    uint64_t lane_id_first;    /* what hashes are seeded with */
    struct scripts_seen *seen; /* script.c */
    struct hmap topics;        /* pubsub.c */
    struct list sub_ops;
    struct publisher *publisher;
    uint32_t n_pinned;
    int32_t n_keyless;   /* lanes whose nodes run slow scripts without keys */
    char busy_text[208]; /* what they answer meanwhile */
    uint64_t walk;
    struct rng rng;
    struct key_list keys;
    struct resp_parser parser; /* for bytes that are parsed a second time */
    struct str scratch;
    char *node_password;
    struct session nobody;            /* stands for a client that has gone */
    const struct exec_input *tracing; /* the command under way, if its bytes are to be kept */
    uint8_t pause;                    /* enum exec_pause */
    int64_t pause_until_us;
    struct list paused;        /* struct session.wait */
    struct list flag_asks;     /* pause.c */
    struct list stranded;      /* the same: they wait until each shard has a primary */
    struct list owns;          /* struct own.link */
    struct list leaving;       /* struct lane.idle: LANE_OWN that finish what is under way */
    struct list waits;         /* struct wait.link: all commands that wait or may */
    int64_t memory_doubt_us;   /* until then any node may be short of memory */
    uint32_t n_blocked;        /* clients of theirs that do wait */
    int64_t strays_us;         /* when it was last looked for those that wait at the wrong node */
    uint8_t route_of[CMD_MAX]; /* enum route; ROUTE_LOCAL where a handler is */
};

#define ROUTE_LOCAL 200

/* --- exec.c --- */
struct request *request_take(struct exec *x, struct session *s, const struct command *c);
/* The request's place in the queue is over; parked reply and gather are freed. */
void request_free(struct exec *x, struct request *r);
void exec_wake(struct exec *x, int64_t at_us);

/* --- deliver.c: replies in request order. Each ends the request. --- */
void request_reply(struct exec *x, struct request *r, struct chunk *chunk, const char *ptr,
                   size_t len);
void request_reply_out(struct exec *x, struct request *r, struct outbuf *o);
void request_error(struct exec *x, struct request *r, const char *text);
/* Counts a reply that is an error. */
void request_failed(struct exec *x, struct request *r, const char *reply, size_t len);
/* Whether its reply may be written to the session's output right now. */
static inline bool request_is_first(const struct request *r)
{
    return r->session != NULL && r->session->head == r;
}
/* After something was written to session->out for the first request itself. */
void request_done_in_place(struct exec *x, struct request *r, size_t bytes_before);
/* Something was appended to session->out, which held `bytes_before`. */
void session_pushed(struct exec *x, struct session *s, size_t bytes_before);
void session_stop(struct exec *x, struct session *s, enum session_stop why);
void session_check_resume(struct exec *x, struct session *s);
/* It may be parsed on. */
void session_go_on(struct exec *x, struct session *s);
/* Copies what is small, else references. */
struct chunk *exec_keep(struct exec *x, struct chunk *chunk, const char **ptr, size_t len);

/* --- lane.c --- */
struct lane *lane_make(struct target *t, enum lane_kind kind, int proto);
struct lane *lane_of(struct exec *x, struct target *t, enum lane_kind kind, int proto);
/* Opens it if need be; false: not to be had now (the target's retry_at_us tells when). */
bool lane_ready(struct exec *x, struct lane *l);
bool lane_has_room(const struct exec *x, const struct lane *l);
/* Appends the call; its bytes are there or come from `in`. */
void lane_put(struct exec *x, struct lane *l, struct call *c, const struct exec_input *in);
/* Breaks the connection from our side: its calls are retried or failed. */
void lane_break(struct exec *x, struct lane *l, enum lane_end how);
void lane_free(struct exec *x, struct lane **l);
/* The lane's own words; the answer is swallowed, an error breaks it. Returns the call. */
struct call *lane_say(struct exec *x, struct lane *l, const struct slice *argv, size_t argc,
                      enum call_kind kind);
/* Takes the calls behind that number off the lane; they are linked by `next`. */
struct call *lane_cut(struct exec *x, struct lane *l, uint64_t number);
/* Who waits for room in it looks again. */
void lane_resume_stopped(struct exec *x, struct lane *l);
/* Silent lanes' requests get memory of their own, so that they hold no larger chunks alive. */
void lanes_settle(struct exec *x);
struct lane *lane_take_pinned(struct exec *x, struct target *t, int proto);
void lane_give_pinned(struct exec *x, struct lane *l);
/* The call, which is on no lane any more, was answered with an error: it may mean: elsewhere. */
void call_answered_error(struct exec *x, struct call *c, struct chunk *chunk, const char *ptr,
                         size_t len);
/* exec.c: EVAL and its kin: what they run is seen by the node alone. */
bool exec_runs_script(const struct command *c);
/* Keeps the call's bytes where they outlive the client's buffer. */
void call_keep_bytes(struct exec *x, struct call *c, const struct exec_input *in,
                     struct chunk **tape);
void call_drop_bytes(struct call *c);

/* --- busy.c: nodes at which a slow script runs --- */
/* False: that push is none of them. */
bool busy_pushed(struct exec *x, struct lane *l, const char *ptr, size_t len);
void busy_set(struct exec *x, struct lane *l, bool busy, bool keyless);

/* --- pause.c --- */
/* True: the command must wait, and its session is stopped. */
bool pause_holds(struct exec *x, struct session *s, const struct command *c,
                 const struct exec_input *in);
/* As CLIENT PAUSE WRITE sees it. */
bool command_may_change(const struct exec *x, const struct command *c, const struct slice *argv,
                        size_t argc);
void pause_tick(struct exec *x);
/* The session is going. */
void pause_forget(struct exec *x, const struct session *s);
void pause_fini(struct exec *x);

/* --- hold.c --- */
/* Sends a call that has its bytes, wherever it belongs now; holds it if nobody takes it. */
void call_send(struct exec *x, struct call *c);
/* The same to that very node. */
void call_send_to(struct exec *x, struct call *c, struct target *t, enum lane_kind kind);
/* Not executed for sure, or a read: another try within the limits, else its error. */
void call_retry(struct exec *x, struct call *c, const char *error);
/* Waits, within the limits: until `due_us`, or 0: until the map changes. */
void call_hold(struct exec *x, struct call *c, int64_t due_us);
/* Its connection broke: a read, or what had not left. */
void call_lost(struct exec *x, struct call *c, bool left, const char *error);
/* The node refused: the call was not executed. Tries again where that can help, `error` if not. */
void call_refused(struct exec *x, struct call *c, const char *error);
/* A call with a fate waits for it. However many wait already: its lane had room for it. */
void hold_unresolved(struct exec *x, struct call *c);
/* It does not wait any more; the caller goes on with it. */
void hold_take(struct exec *x, struct call *c);
/* Its bytes get a copy of their own, unless they lie in a chunk of about their size. */
void call_own_bytes(struct call *c);
/* Tries what is due, ends what is late. */
void hold_tick(struct exec *x, bool map_changed);
/* The call was executed, or may have been: what its session has held before it for the same shard
 * can't be executed in its order any more. */
void hold_overtaken(struct exec *x, const struct call *by);
/* Whether calls to these (shards or enum call_where) may concern the same keys. */
bool shards_touch(int a, int b);
/* The session is going: what it holds ends. */
void hold_drop(struct exec *x, struct session *s);
/* The call's answer: the reply, or an error's text with its code. */
void call_answer(struct exec *x, struct call *c, struct chunk *chunk, const char *ptr, size_t len);
void call_error(struct exec *x, struct call *c, const char *text);

/* --- routes.c --- */
void routes_reset(struct exec *x, uint32_t shards);
void routes_drop_spare(struct exec *x);
void target_free(struct exec *x, struct target *t);
void target_free_lanes(struct exec *x, struct target *t);
/* `chosen` serves it. */
void route_open(struct exec *x, int shard);
/* `chosen` has refused. */
void route_refused(struct exec *x, int shard);
/* A connection to the node broke: it may be another process when it is back. */
void routes_doubt(struct exec *x, const struct target *t);
/* The call is no longer on its way to find out. */
void route_probe_over(struct exec *x, const struct call *c);
/* Since when nobody serves the shard; 0: somebody may. */
int64_t route_lost_us(const struct exec *x, int shard);
/* A call for the primary may go now. */
bool route_takes(const struct exec *x, int shard);
/* Where it goes, perhaps as a probe; NULL: nowhere now. */
struct target *route_primary(struct exec *x, struct call *c);
/* The target for a read of the shard; NULL: nobody. */
struct target *pick_reader(struct exec *x, int shard);
/* A replica may lack a write that was answered to this client. */
static inline bool must_read_own(const struct exec *x, const struct session *s)
{
    return x->settings.own_reads_us != 0 && x->now_us - s->wrote_us < x->settings.own_reads_us;
}
/* A refused read: true if a replica did it, which then gets none for a while. */
bool reader_refused(struct exec *x, const struct call *c);

/* --- fate.c: what became of writes that were under way when their lane broke --- */
/* The lane has just broken and the write had left: its fate is found out. */
void fate_begin(struct exec *x, const struct lane *l, struct call *c);
/* The call waits no longer for its fate. */
void fate_forget(struct call *c);
/* It may have been executed: the client is told so. */
void fate_unknown(struct exec *x, struct call *c);
int64_t fate_deadline(const struct exec *x, const struct fate *f);
/* The question's answer; the question is freed. */
void fate_answered(struct exec *x, struct call *question, struct chunk *chunk, const char *ptr,
                   size_t len);
void fate_question_lost(struct exec *x, struct call *question);
/* Asks what is to be asked. */
void fates_tick(struct exec *x, bool map_changed);
void fate_drop_all(struct exec *x);

/* --- fate_script.c: the same of scripts that name no keys, which any shard's log may have --- */
bool fate_is_loose(struct exec *x, const struct call *c);
void fate_loose_begin(struct exec *x, const struct lane *l, struct call *c);
/* One of the questions for such a script. */
static inline bool fate_is_search(const struct call *c);
/* Its answer, if it is not the reply itself: that shard has no trace of it, or cannot tell. */
void fate_search_over(struct exec *x, struct call *c, bool absent);

/* --- gather.c: several calls, one reply --- */
enum gather_kind {
    GATHER_SPLIT,
    GATHER_ALL,
    GATHER_FAN,
    GATHER_SCAN,
    GATHER_RANDOM,
    GATHER_TX,
    GATHER_WAIT,
    GATHER_SEARCH, /* of a script's outcome, in all shards */
};
struct part {
    struct call call;
    bool done;
    bool absent;   /* SEARCH: not there, and never will be */
    bool doubtful; /* SEARCH: there without a reply, or nobody can tell */
    bool replaced; /* its keys went to other parts */
    bool gone;     /* its node was taken off the map before it answered */
    struct chunk *reply_chunk;
    const char *reply;
    size_t reply_len;
};
struct gather {
    uint8_t kind;
    uint8_t merge; /* enum response_policy */
    uint32_t open;
    uint32_t n_parts;
    uint32_t cap;
    struct part **parts;
    uint32_t n_keys;
    uint32_t *key_part; /* SPLIT: whose reply has the i-th key's answer */
    fan_merge_fn fan;
    void *fan_arg;
    struct scan *scan;
    struct tx_run *run;
    uint8_t *asked; /* RANDOM: by node index */
    uint32_t n_asked;
};
static inline bool fate_is_search(const struct call *c)
{
    return c->kind == CALL_PART && c->request->gather->kind == GATHER_SEARCH;
}
struct gather *gather_new(struct request *r, enum gather_kind kind);
void gather_free(struct gather **g);
struct part *gather_add(struct request *r);
void gather_answer(struct exec *x, struct call *c, struct chunk *chunk, const char *ptr,
                   size_t len);
/* A part that spans shards must go elsewhere: it is cut anew. */
void gather_replan(struct exec *x, struct call *c);
void gather_drop_replies(struct gather *g);
/* The call's node is not on the map any more: what goes to all goes to those that are. */
void gather_part_gone(struct exec *x, struct call *c);
/* Leaves the parts whose nodes are there; the last one if none is. */
void gather_drop_gone(struct gather *g);
/* Around sending: the last answer may come before all is sent. */
void gather_begin(struct request *r);
void gather_end(struct exec *x, struct request *r);
/* The same shard by shard: the parts wait, for their fates if `lost` is the lane that broke. */
void gather_scatter(struct exec *x, struct call *c, const struct lane *lost);
/* Bytes of a command for one or more parts; the caller unrefs the chunk. */
struct chunk *gather_encode(const struct slice *argv, size_t argc, const char **bytes, size_t *len);
void part_set_bytes(struct part *p, struct chunk *chunk, const char *bytes, size_t len);
/* Room for a part's request in the lane of its target; else the session is stopped. */
bool exec_room_for(struct exec *x, struct session *s, struct target *t);

/* --- merge.c --- */
/* Writes the one reply of parts 0..n_parts-1 by policy. */
void merge_parts(struct request *r, struct resp_writer *w);
void merge_keys(struct request *r, struct resp_writer *w);

/* --- script.c: scripts and functions at all nodes --- */
enum exec_verdict exec_urgent(struct exec *x, struct session *s, const struct command *c,
                              const struct exec_input *in);
/* Of the nodes' answers to such a command the one that says most. */
const struct part *script_best(const struct command *c, const struct gather *g);
/* A library was loaded or deleted where that was possible, and where not it needs none: the reply;
 * NULL: another command, or it failed. */
const struct part *script_changed(const struct command *c, const struct gather *g);

/* --- starters: the request is taken, or the session stopped --- */
enum exec_verdict exec_one(struct exec *x, struct session *s, const struct command *c,
                           const struct exec_input *in, int shard);
enum exec_verdict exec_by_keys(struct exec *x, struct session *s, const struct command *c,
                               const struct exec_input *in);
enum exec_verdict exec_split(struct exec *x, struct session *s, const struct command *c,
                             const struct exec_input *in);
enum exec_verdict exec_all(struct exec *x, struct session *s, const struct command *c,
                           const struct exec_input *in, bool shards_only);
/* Who waits until each shard has a primary looks again. */
/* Whole databases, a call for each shard. */
enum exec_verdict exec_each(struct exec *x, struct session *s, const struct command *c,
                            const struct exec_input *in);
void stranded_resume(struct exec *x);
enum exec_verdict exec_randomkey(struct exec *x, struct session *s, const struct command *c,
                                 const struct exec_input *in);
enum exec_verdict exec_scan(struct exec *x, struct session *s, const struct command *c,
                            const struct exec_input *in);
enum exec_verdict exec_tx(struct exec *x, struct session *s, const struct command *c,
                          const struct exec_input *in);
enum exec_verdict exec_local(struct exec *x, struct session *s, const struct command *c,
                             const struct exec_input *in);
enum exec_verdict exec_refuse(struct exec *x, struct session *s, const struct command *c,
                              const char *text);

/* --- own.c: clients that track --- */
enum exec_verdict exec_own(struct exec *x, struct session *s, const struct command *c,
                           const struct exec_input *in, int shard);
struct lane *own_lane(struct exec *x, struct session *s, struct target *t);
/* CLIENT TRACKING as a new lane says it; the caller frees the words. */
void own_words(const struct lane *l, struct slice **words, size_t *n);
/* Some of its lanes may be ready now. */
void own_check(struct exec *x, struct own *own);
/* A lane is gone. */
void own_lost(struct exec *x, struct lane *l);
/* False: that push is none of tracking. */
bool own_pushed(struct exec *x, struct lane *l, const char *ptr, size_t len);
/* The answer to a CALL_TRACK; the call is freed. */
void own_answered(struct exec *x, struct lane *l, struct call *question, struct slice reply);
/* Replies left. */
void own_replied(struct exec *x, struct session *s);
/* A request of a tracking session was accepted. */
void own_taken(struct session *s, struct request *r);
void own_put_caching(struct exec *x, struct lane *l, struct call *c);
void owns_tick(struct exec *x);

/* --- pubsub.c: messages --- */
enum exec_verdict exec_pubsub(struct exec *x, struct session *s, const struct command *c,
                              const struct exec_input *in);
void pubsub_init(struct exec *x);
void pubsub_fini(struct exec *x);
/* The session that publishes for nodes ends, before lanes do. */
void publisher_gone(struct exec *x);
/* Ears that are missing are opened. */
void ears_tick(struct exec *x);
void ears_map_changed(struct exec *x);
/* An ear's connection is gone. */
void ear_lost(struct exec *x, struct lane *l);
/* It answered the command with that number. */
void ear_answered(struct exec *x, struct lane *l, uint64_t number);
void ear_pushed(struct exec *x, struct lane *l, struct chunk *chunk, const char *ptr, size_t len);

/* --- wait.c: commands that wait at a node for data --- */
enum exec_verdict exec_wait(struct exec *x, struct session *s, const struct command *c,
                            const struct exec_input *in);
/* The request is over. */
void wait_free(struct exec *x, struct request *r);
/* Its client is going. True: it is over, and the request freed. */
bool wait_gone(struct exec *x, struct request *r);
/* The node says of the call under way that it waits. False: it says something else. */
bool wait_parks(struct exec *x, struct lane *l, struct call *c, struct chunk *chunk,
                const char *ptr, size_t len);
/* The node's word on one that waits there. */
void wait_pushed(struct exec *x, struct lane *l, struct chunk *chunk, const char *ptr, size_t len);
/* The lane broke: what waits there goes elsewhere when it is known what became of it. */
void waits_lost(struct exec *x, struct lane *l);
void waits_tick(struct exec *x);
/* When its own time is over; INT64_MAX: never. */
int64_t wait_until(const struct request *r);
/* Its time is over: nil. */
void wait_timed_out(struct exec *x, struct call *c);
/* Before it is sent again: words with the time that is left. False: none is; it is answered. */
bool wait_renew(struct exec *x, struct call *c);
/* GATHER_WAIT: the node that was asked has answered. */
void wait_answered(struct exec *x, struct request *r);
/* No answer of a node is kept for its reply: what is pushed to its client may go before that. */
bool wait_keeps_nothing(const struct request *r);

void scan_answered(struct exec *x, struct request *r);
void scan_free(struct scan **s);
void random_answered(struct exec *x, struct request *r);
void all_answered(struct exec *x, struct request *r);
void split_answered(struct exec *x, struct request *r);
void search_answered(struct exec *x, struct request *r);
void fan_answered(struct exec *x, struct request *r);
void tx_answered(struct exec *x, struct request *r);
/* The transaction goes to that node after all: with the scripts that this one may lack. */
void tx_aim(struct call *c, const struct target *t);
void tx_run_free(struct tx_run **run);
/* Inside MULTI: queues or refuses. */
enum exec_verdict tx_queue(struct exec *x, struct session *s, const struct command *c,
                           const struct exec_input *in);
/* The call of a watching connection was not executed, or has left no trace: what is watched may
 * have changed since. */
void tx_watch_broken(struct exec *x, struct call *c);
/* Forgets MULTI and WATCH. */
void tx_free(struct exec *x, struct session *s);
