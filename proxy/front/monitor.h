// SPDX-License-Identifier: BSD-3-Clause
/* MONITOR: tells those who asked what this proxy's clients have executed, whichever worker theirs
 * is, secrets blackened. Each worker makes the lines of its own clients and mails them to the
 * others; a client's lines keep their order. What scripts run within the nodes is not shown.
 * Owner: the worker's thread. */
#pragma once

#include <stdbool.h>

struct client;
struct request;
struct worker;

/* Whether any client of any worker wants to know. */
bool monitor_any(const struct worker *w);
void monitor_start(struct client *c);
/* Also if it never did. */
void monitor_stop(struct client *c);
/* The request is over; only if monitor_any. */
void monitor_feed(struct worker *w, const struct request *r);
