// SPDX-License-Identifier: BSD-3-Clause
/* MONITOR: tells those who asked what is executed, secrets blackened. The node's thread. */
#pragma once

struct server;
struct call;

/* Behind the execution, as Redis does: EXEC comes behind what it ran. */
void monitor_feed(struct server *s, const struct call *k);
