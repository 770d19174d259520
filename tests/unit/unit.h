// SPDX-License-Identifier: BSD-3-Clause
/* cmocka, with what its header needs before it. Every unit test includes this instead. */
#pragma once

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

/* How often something of one thread is tried at random. ThreadSanitizer makes it many times slower
 * and has nothing to find there: an eighth shows that it runs. */
#ifdef __SANITIZE_THREAD__
#define RANDOM_ROUNDS(n) ((n) / 8)
#else
#define RANDOM_ROUNDS(n) (n)
#endif
