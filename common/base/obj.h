// SPDX-License-Identifier: BSD-3-Clause
/* What the compiler cannot check: invariants, object magics, results that must be looked at.
 *
 * INVARIANT stays on in release builds: a broken one ends the process with file, line and the
 * condition, because going on could lose data. Never use it for what a peer or a user sent. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MUSTCHECK                       __attribute__((warn_unused_result))
#define NORETURN                        __attribute__((noreturn))
#define PRINTF_LIKE(fmt, args)          __attribute__((format(printf, fmt, args)))
#define LIKELY(x)                       __builtin_expect(!!(x), 1)
#define UNLIKELY(x)                     __builtin_expect(!!(x), 0)
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define MAX(a, b)                       ((a) > (b) ? (a) : (b))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define INVARIANT(cond)                                                                            \
    do {                                                                                           \
        if (UNLIKELY(!(cond))) {                                                                   \
            invariant_broken(__FILE__, __LINE__, __func__, #cond);                                 \
        }                                                                                          \
    } while (0)

/* Long-lived structs open with `uint32_t magic`; exported functions check it. */
#define CHECK_OBJ(obj, value) INVARIANT((obj) != NULL && (obj)->magic == (value))

NORETURN void invariant_broken(const char *file, int line, const char *func, const char *cond);
