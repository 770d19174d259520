// SPDX-License-Identifier: BSD-3-Clause
/* What cmd_hash.c and cmd_hash_pick.c share. */
#pragma once

#include "node/cmd/call.h"
#include "node/types/hash.h"

/* Argument i as a key, for reading; NULL: not there. False: of another type, and answered. */
bool read_hash(struct call *c, size_t i, struct object **o) MUSTCHECK;
void reply_hash_value(struct call *c, const struct listpack_value *v);
