// SPDX-License-Identifier: BSD-3-Clause
/* Requests written into memory that the caller has measured: for bytes that must stay in one piece.
 */
#pragma once

#include "common/base/slice.h"

size_t encoded_digits(size_t v);
/* Exactly what one bulk string takes. */
size_t encoded_bulk(size_t len);
/* At least what argv takes. */
size_t encoded_max(const struct slice *argv, size_t argc);
/* Each returns the bytes written. */
size_t encode_header(char *to, char type, size_t n);
size_t encode_bulk(char *to, struct slice v);
size_t encode_args(char *to, const struct slice *argv, size_t argc);
