// SPDX-License-Identifier: BSD-3-Clause
/* The INFO texts of several nodes as one: counts and sizes are added, what is under way somewhere
 * is under way, percentages and texts for people are made anew. Pure. */
#pragma once

#include "common/base/slice.h"
#include "common/base/str.h"

struct info_merge;

struct info_merge *info_merge_new(void);
void info_merge_free(struct info_merge **m);
/* One node's INFO. What a machine has counts once for all nodes of that host. */
void info_merge_add(struct info_merge *m, struct slice text, const char *host);
/* Adds to a sum ("used_memory"), known or not. */
void info_merge_add_to(struct info_merge *m, const char *section, const char *name, int64_t n);
/* Puts a value in the place of the nodes'. */
void info_merge_set(struct info_merge *m, const char *section, const char *name, const char *value);
/* The merged value of a field of any section; 0 if no node has it. */
int64_t info_merge_get(const struct info_merge *m, const char *name);
/* The same of numbers with a fraction, which are added up if they are rates. */
double info_merge_real(const struct info_merge *m, const char *name);
/* The lines of a section ("Memory", as its heading reads), in the nodes' order. */
void info_merge_section(const struct info_merge *m, const char *section, struct str *to);
/* "dbN:keys=..,expires=..,avg_ttl=.." by database. */
void info_merge_keyspace(const struct info_merge *m, struct str *to);
