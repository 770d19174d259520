// SPDX-License-Identifier: BSD-3-Clause
/* Who this node is, over restarts: its id and how often it was started, kept in its directory. The
 * file is locked for as long as the process lives, so that two nodes never share a directory. */
#pragma once

#include "common/base/err.h"
#include "common/model/map.h"

struct identity {
    char id[NODE_ID_LEN + 1];
    uint64_t incarnation; /* 1 for the first start */
    int lock_fd;
};

/* Reads dir/shoal-node.id, counts this start and writes it back; `fresh_id` is taken if there is no
 * file yet. */
bool identity_load(struct identity *me, const char *dir, const char *fresh_id,
                   struct errmsg *err) MUSTCHECK;
void identity_release(struct identity *me);

/* The pure part. False: that is no such file. */
bool identity_parse(const char *text, struct identity *me) MUSTCHECK;
