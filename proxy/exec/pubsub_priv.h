// SPDX-License-Identifier: BSD-3-Clause
/* Pub/sub's structs. */
#pragma once

#include "proxy/exec/exec_priv.h"
#include "proxy/exec/pubsub.h"

#include "common/base/hmap.h"

#define EAR_TICK_US  (1000 * 1000)
#define FORWARDS_MAX 10000

/* What an ear's node was told of a topic. */
struct told {
    uint64_t lane_id;
    uint32_t count;
};

struct topic {
    struct hmap_node node;
    struct list subs; /* struct sub.of_topic */
    uint32_t n;       /* of them */
    uint32_t slot;
    uint8_t kind;    /* enum topic_kind */
    bool everywhere; /* any node may publish on it */
    uint32_t n_told;
    struct told *told;
    size_t len;
    char name[];
};

struct sub {
    struct topic *topic;
    struct session *session;
    bool live; /* confirmed: messages are passed on */
    struct list of_topic;
    struct list of_session;
    struct hmap_node node; /* in subs.by_topic, by the topic's address */
};

struct subs {
    struct list all;
    struct hmap by_topic;
    uint32_t count[TOPIC_KINDS];
};

/* An ear's answer to that command, or a later one, is waited for. */
struct sub_ack {
    uint64_t lane_id;
    uint64_t number;
};

/* A SUBSCRIBE or UNSUBSCRIBE under way. */
struct sub_op {
    struct list link; /* exec's sub_ops */
    struct request *request;
    struct outbuf out; /* the confirmations */
    uint32_t n;
    struct sub_ack *on;
};

struct forwarded {
    struct list link;
    size_t channel_len;
    size_t message_len;
    char bytes[];
};

/* Says PUBLISH for nodes. */
struct publisher {
    struct session session; /* nobody's */
    struct outbuf out;
    struct list queue;
    uint32_t n;
    bool pumping;
};

void forward(struct exec *x, struct slice channel, struct slice message);
