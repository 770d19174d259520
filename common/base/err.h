// SPDX-License-Identifier: BSD-3-Clause
/* Messages of start-up and files, wrapped outward: "shoal-node.conf:12: port: not a number: 'x'".
 * Functions that can fail for the world's reasons return false and fill one. */
#pragma once

#include "common/base/obj.h"

struct errmsg {
    char text[512];
};

void errmsg_set(struct errmsg *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Puts "fmt: " before what is there. */
void errmsg_wrap(struct errmsg *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
