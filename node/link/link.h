// SPDX-License-Identifier: BSD-3-Clause
/* Connections to the other nodes: one each, over which frames of bytes go both ways.
 *
 * The node with the smaller id connects to the other's service port, gives the password if there is
 * one, says `SHOAL LINK version id incarnation cluster`, and after the answer, the incarnation of
 * the other (an integer), only frames follow: 4 bytes
 * of length (little-endian, of what follows), then the frame. The one with the larger id takes the
 * connection over from its listener (links_adopt). Links are kept to the nodes of links_want only,
 * tried again with backoff; a frame that is too long, or that the owner does not understand, cuts
 * the link. A new connection is a new session: up() and down() tell.
 *
 * What a turn puts into link_frame leaves in one write per peer at the end of the turn. Owned by
 * the server; the node's thread. */
#pragma once

#include "common/base/err.h"
#include "common/io/stream.h"
#include "common/model/map.h"

#define LINK_VERSION   3
#define LINK_FRAME_MAX ((size_t)1 << 30)
#define LINK_HEADER    4

struct links;
struct link;

/* What the links tell. Called on the node's thread, from the loop, never from inside a call. */
struct links_port {
    void *arg;
    void (*up)(void *arg, struct link *l);
    /* Bytes came: frames, the last one maybe not whole; `frame` follows for each that is. To look
     * ahead in until frames_done; may be NULL. */
    void (*frames_come)(void *arg, struct link *l, struct slice frames);
    /* Whole frames that came together, one call each; `frame` is valid during the call. False: it
     * is not understood, the link is cut. */
    bool (*frame)(void *arg, struct link *l, struct slice frame);
    /* Behind the last frame of a read. */
    void (*frames_done)(void *arg, struct link *l);
    /* All that was queued was written. */
    void (*drained)(void *arg, struct link *l);
    void (*down)(void *arg, struct link *l);
};

struct links_settings {
    char id[NODE_ID_LEN + 1];
    uint64_t incarnation;
    char cluster_id[NODE_ID_LEN + 1];
    const char *password; /* copied; "" or NULL: none */
};

/* A node to be linked with. */
struct link_target {
    const char *id;
    const char *host;
    int port;
    int node; /* the owner's number for it, in link_node() from now on */
};

struct links *links_new(struct loop *l, const struct links_settings *s,
                        const struct links_port *port);
void links_free(struct links **l); /* without down() */
/* Another one now: for connections to come. Copied. */
void links_password(struct links *l, const char *password);
/* The cluster is known or another one now: all links end. */
void links_cluster(struct links *l, const char *cluster_id);
/* From now on just these; others end. */
void links_want(struct links *l, const struct link_target *of, size_t n);
/* An accepted connection said SHOAL LINK. NULL if it is welcome, else the error's text (the link is
 * not wanted yet: the other tries again). */
const char *links_welcome(const struct links *l, uint64_t version, const char *id,
                          const char *cluster_id);
/* After that: takes the stream. The answer (+OK) is in its output already. */
void links_adopt(struct links *l, struct stream *st, const char *id, uint64_t incarnation);

/* The link of the owner's number, or NULL; up or not. */
struct link *links_find(const struct links *l, int node);
bool link_is_up(const struct link *l);
int link_node(const struct link *l);
const char *link_id(const struct link *l);
/* Of the peer, as it said or was told in this session. 0: it connected to us and is not up. */
uint64_t link_incarnation(const struct link *l);
/* Begins a frame of `len` bytes while the link is up: the caller appends just so many. */
struct outbuf *link_frame(struct link *l, size_t len);
/* Writes what has gathered now, before clients' replies of this turn leave. */
void links_flush(struct links *l);
/* Whether the links that are up are served in loop_meanwhile, too. */
void links_meanwhile(struct links *l, bool yes);
/* Bytes that wait for the peer to read. */
size_t link_queued(const struct link *l);
/* Ends the session; it is made anew after the backoff. down() is called from the loop. */
void link_cut(struct link *l, const char *why);

/* For CLUSTER LINKS and INFO. */
struct link_stats {
    uint64_t sessions;
    uint64_t bytes_in;
    uint64_t bytes_out;
    int64_t since_ms; /* loop time of the present session's start */
    bool outgoing;
};
void link_stats(const struct link *l, struct link_stats *out);
/* Each link, up or not. */
typedef void link_each_fn(void *arg, struct link *l);
void links_each(const struct links *l, link_each_fn *fn, void *arg);
