// SPDX-License-Identifier: BSD-3-Clause
/* Signals as events of a loop (signalfd): the handler is an ordinary callback and may do anything.
 *
 * Call signals_block first thing in main, before any thread exists, so that all of them inherit the
 * mask; SIGPIPE is ignored from then on. Owner: the main loop's thread. */
#pragma once

#include "common/io/loop.h"

struct signals;
typedef void (*signals_fn)(void *arg, int signo);

/* SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD wait until somebody takes them. */
void signals_block(void);
/* In a child before it becomes another program. */
void signals_unblock(void);
/* Several signals of one kind may be reported once. */
struct signals *signals_new(struct loop *l, signals_fn fn, void *arg);
void signals_free(struct signals **s);
