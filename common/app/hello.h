// SPDX-License-Identifier: BSD-3-Clause
/* HELLO and AUTH as far as they are the same on proxy and node. `argv` is the whole request; who
 * reads returns false after writing an error. */
#pragma once

#include "common/resp/write.h"

struct hello {
    int proto; /* 2 or 3; 0: as it is */
    bool auth;
    struct slice user;
    struct slice pass;
    bool named;
    struct slice name; /* client_name_ok() judges it */
};

bool hello_read(const struct slice *argv, size_t argc, struct hello *h, struct resp_writer *w);
/* In the protocol of `w`. */
void hello_reply(uint64_t id, const char *mode, struct resp_writer *w);

bool auth_read(const struct slice *argv, size_t argc, const char *requirepass, struct slice *user,
               struct slice *pass, struct resp_writer *w);
/* Whether these let somebody in; time does not tell how much of a guess was right. */
bool auth_check(struct slice user, struct slice pass, const char *requirepass,
                struct resp_writer *w);
