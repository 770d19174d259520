// SPDX-License-Identifier: BSD-3-Clause
/* HELLO as far as it is the same on proxy and node; AUTH is in acl_command.h. `argv` is the whole
 * request; who reads returns false after writing an error. */
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
