// SPDX-License-Identifier: BSD-3-Clause
/* SHA-1 (FIPS 180-4), for the names of scripts: clients compute it too. Not for anything secret. */
#pragma once

#include <stddef.h>

#define SHA1_HEX_LEN 40

/* Forty lower-case digits and a NUL. */
void sha1_hex(const void *ptr, size_t len, char to[SHA1_HEX_LEN + 1]);
