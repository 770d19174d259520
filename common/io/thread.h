// SPDX-License-Identifier: BSD-3-Clause
/* A named thread. The function runs with all signals blocked (the main thread takes them). */
#pragma once

#include "common/base/obj.h"

#include <pthread.h>

typedef void (*thread_fn)(void *arg);
struct thread {
    pthread_t id;
    thread_fn fn;
    void *arg;
    char name[16];
};
void thread_start(struct thread *t, const char *name, thread_fn fn, void *arg);
void thread_join(struct thread *t);
