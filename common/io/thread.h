// SPDX-License-Identifier: BSD-3-Clause
/* A named thread. The function runs with all signals blocked (the main thread takes them). */
#pragma once

#include "common/base/obj.h"

#include <pthread.h>
#include <stdbool.h>

typedef void (*thread_fn)(void *arg);
struct thread {
    pthread_t id;
    thread_fn fn;
    void *arg;
    char name[16];
};
/* Nobody waits for its end; false if the system has no thread for it now. */
bool thread_start_alone(const char *name, thread_fn fn, void *arg) MUSTCHECK;
void thread_start(struct thread *t, const char *name, thread_fn fn, void *arg);
void thread_join(struct thread *t);
