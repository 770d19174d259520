// SPDX-License-Identifier: BSD-3-Clause
/* CONFIG over the node's directives, for its clients (admin) and for what the cluster wants of all
 * its nodes.
 *
 * CONFIG SET through a proxy reaches the nodes that are there (SHOAL SETTINGS), and is recorded by
 * the coordinator, which gives the whole record to nodes that register (SETTINGS in
 * wire/messages.def). Both ways carry the record's version, so that a record that was overtaken on
 * its way sets nothing back. The node's thread. */
#pragma once

#include "common/base/slice.h"
#include "common/resp/write.h"

struct server;

/* argv[0] is CONFIG, or stands for it. */
void config_run(struct server *s, bool local, const struct slice *argv, size_t argc,
                struct resp_writer *w);
/* SHOAL SETTINGS version name value ...: CONFIG SET by a proxy that knows the record's version. */
void config_set_for_all(struct server *s, bool local, const struct slice *argv, size_t argc,
                        struct resp_writer *w);
/* The record: names and values. What this node refuses is logged, the rest is set. */
void config_take(struct server *s, uint64_t version, const struct slice *pairs, size_t n);
