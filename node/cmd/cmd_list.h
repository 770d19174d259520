// SPDX-License-Identifier: BSD-3-Clause
/* What cmd_list.c and cmd_list_pop.c share. */
#pragma once

#include "node/cmd/call.h"
#include "node/keyspace/notify.h"
#include "node/types/quicklist.h"

void reply_element(struct call *c, const struct listpack_value *v);
/* An array of n elements, from one end on, after `skip` others; they are there. */
void reply_elements(struct call *c, const struct object *o, enum quicklist_end from, size_t skip,
                    size_t n);

/* Argument i as a key, for a change; NULL: not there. False: of another type, and answered. */
bool find_list(struct call *c, const struct probe *p, size_t i, struct object **o) MUSTCHECK;
/* Behind db_edit_begin and a change; tells of it, and of the key's end if it is empty now. */
bool end_list_edit(struct call *c, const struct probe *p, struct db_edit *e, struct slice key,
                   const char *event);
/* Pushes; o is NULL if there is no such key yet. */
void list_add_values(struct call *c, const struct probe *p, struct object *o, struct slice key,
                     enum quicklist_end end, const struct slice *values, size_t n);
