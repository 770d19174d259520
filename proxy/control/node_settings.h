// SPDX-License-Identifier: BSD-3-Clause
/* The record of what CONFIG SET has given to all nodes, for those that register later: names and
 * values, each name once, in the order in which they were set last. Some are durable; the others,
 * which the proxy has itself too, hold as long as its own, for this process's life. A name that
 * begins with a dot is the proxies' own: durable, and no node is told. Owner: the control thread.
 */
#pragma once

#include "common/base/str.h"

struct node_setting {
    char *name; /* in small letters */
    struct str value;
    bool durable;
};

struct node_settings {
    struct node_setting *items;
    size_t count;
};

void node_settings_set(struct node_settings *n, struct slice name, struct slice value,
                       bool durable);
/* As a RESP array of names and values, appended: what lasts, or what nodes are told. */
void node_settings_encode(const struct node_settings *n, bool durable_only, struct str *to);
/* NULL: it was never set. */
const struct str *node_settings_get(const struct node_settings *n, const char *name);
/* What was encoded; false: it is not. All are durable. */
bool node_settings_decode(struct node_settings *n, struct slice bytes) MUSTCHECK;
void node_settings_fini(struct node_settings *n);
