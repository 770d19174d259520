// SPDX-License-Identifier: BSD-3-Clause
/* Exec's outside world: what it asks of connections and time. back/port.c is the real one; unit
 * tests and the simulator bring their own. All calls come from the worker's thread and return at
 * once; none calls back into exec. */
#pragma once

#include "common/base/slice.h"
#include "common/cmd/acl.h"

#include <stddef.h>
#include <stdint.h>

struct lane;
struct request;
struct session;

struct exec_port {
    void *back;  /* given to the functions of lanes */
    void *front; /* given to those of sessions, and to local handlers as their worker */
    /* Starts to connect: sets lane->out before it returns. exec_lane_up() or exec_lane_down()
     * follows. */
    void (*lane_open)(void *back, struct lane *l);
    /* Something was appended to lane->out: to be written at the end of the turn. */
    void (*lane_flush)(void *back, struct lane *l);
    /* Drops the connection; nothing more is heard of it. lane->out is invalid afterwards. */
    void (*lane_close)(void *back, struct lane *l);
    /* Bytes of this connection that went into the socket. */
    uint64_t (*lane_written)(void *back, const struct lane *l);
    /* Something was appended to session->out. */
    void (*session_flush)(void *front, struct session *s);
    /* The session may be parsed on (it was stopped); not before the current call has returned. */
    void (*session_resume)(void *front, struct session *s);
    /* Ends the connection behind what is in session->out. */
    void (*session_close)(void *front, struct session *s);
    /* session->out passed session->out_watch. */
    void (*session_over)(void *front, struct session *s);
    /* It speaks HTTP: it is to be closed at once, nothing more of it to be run. */
    void (*session_http)(void *front, struct session *s);
    /* It began or ceased to listen to messages: other limits hold. May be NULL. */
    void (*session_class)(void *front, struct session *s);
    /* CLIENT TRACKING REDIRECT: to tell that session instead: exec_invalidate there, or
     * exec_redirect_broken here. */
    void (*redirect)(void *front, struct session *from, uint64_t to, struct slice value);
    /* Calls exec_tick() at that time or a little later. */
    void (*wake_at)(void *front, int64_t at_us);
    /* A client's request is over, so long after it was accepted. May be NULL, together with
     * the next. */
    void (*request_over)(void *front, const struct request *r, int64_t us);
    /* A reply is an error: "-ERR ...". May be NULL. */
    void (*error_reply)(void *front, const char *reply, size_t len);
    /* The session's user may not run this; `object` is the command, key or channel. May be NULL. */
    void (*not_allowed)(void *front, struct session *s, enum acl_answer why, struct slice object);
    /* A node refused or reset a connection: worth a probe by the coordinator. `answer`: what it
     * said to a lane's own words, without the code's '-'; "": nothing. */
    void (*refused)(void *back, const char *node_id, const char *answer);
};
