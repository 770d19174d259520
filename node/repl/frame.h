// SPDX-License-Identifier: BSD-3-Clause
/* Messages between nodes as bytes: a frame is one byte of kind, shard and primary term where the
 * kind has them, then its fields, little-endian, then (ENTRIES, COPY_KEYS, COPY_WINDOW) a body to
 * the frame's end. Reading trusts nothing; entries inside are checked by who takes them. Pure. */
#pragma once

#include "node/repl/message.h"

#include "common/base/str.h"

/* Appends everything but the body, which may be long and is left where it is: the frame is what was
 * appended, then *body. */
void repl_frame_write(const struct repl_message *m, struct str *to, struct slice *body);

/* Room for a message's lists; zeroed at first, kept from frame to frame. */
struct repl_frame_room {
    struct repl_mark *marks;
    size_t cap;
};
void repl_frame_room_fini(struct repl_frame_room *room);
/* False: it is none. Slices borrow from `frame`, lists from `room`. */
bool repl_frame_read(struct slice frame, struct repl_message *out,
                     struct repl_frame_room *room) MUSTCHECK;
