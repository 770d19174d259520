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
