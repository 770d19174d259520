// SPDX-License-Identifier: BSD-3-Clause
/* Shared by follow.c (followers, the stream) and follow_image.c. */
#pragma once

#include "node/keyspace/feed.h"
#include "node/serve/follow.h"
#include "node/serve/server.h"
#include "node/serve/spool.h"

#include "common/base/disk.h"

struct image;
struct jobs;
struct rdb_save;

enum follower_state {
    FOLLOWER_NONE,   /* has only said REPLCONF */
    FOLLOWER_WAITS,  /* for its image to be whole */
    FOLLOWER_GETS,   /* the image is being sent */
    FOLLOWER_SILENT, /* has all of it, and must say so before it gets the stream */
    FOLLOWER_ONLINE,
};

/* Parts of an image that a follower does not want. */
enum { WITHOUT_KEYS = 1 << 0, WITHOUT_LIBRARIES = 1 << 1 };

struct follower {
    struct list link; /* following.followers, unless FOLLOWER_NONE */
    struct client *client;
    enum follower_state state;
    struct image *image; /* while it waits for it or gets it */
    uint64_t image_at;   /* of its file, sent */
    uint64_t from;       /* the place of the stream that comes next */
    uint64_t acked;
    int64_t acked_ms; /* loop time */
    bool acks;        /* came by PSYNC: silence means that it is gone */
    bool eof;
    bool image_only;
    unsigned without;
    int port;
    char host[64]; /* that it announced; empty: where it came from */
};

struct following {
    struct server *s;
    bool active;        /* somebody follows, or did a while ago */
    bool own_collector; /* the keyspace's is ours: there is no log */
    bool broken;        /* the feed could not tell something */
    struct feed feed;
    struct spool spool;
    char id[NODE_ID_LEN + 1]; /* of the stream */
    struct list followers;
    size_t n;
    int64_t alone_since_ms; /* loop time: nobody follows any more */
    int64_t pinged_ms;
    struct loop_task flush;
    struct loop_task leave; /* lets go of the collector */
    struct loop_timer tick;

    /* images */
    struct list images;
    struct loop_timer step;
    struct jobs *files; /* writes those that go through a file; NULL: none yet */
    struct disk *disk;
    uint64_t image_number;
    uint64_t images_made;
    int64_t slice_us_max;

    struct follow_stats stats;
};

/* ---- follow.c ---- */

void follower_end(struct follower *f, const char *why);
/* "+FULLRESYNC id place", if it asked by PSYNC. */
void follower_welcome(struct follower *f, uint64_t at);
/* It has its image. */
void follower_has_image(struct follower *f);

/* ---- follow_image.c ---- */

void images_init(struct following *w);
void images_fini(struct following *w);
/* The follower gets one. */
void image_for(struct following *w, struct follower *f);
/* It goes, or will not have it. */
void image_leave(struct follower *f);
/* Its output has room again. */
void image_pump(struct follower *f);
