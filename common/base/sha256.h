// SPDX-License-Identifier: BSD-3-Clause
/* SHA-256 (FIPS 180-4) of bytes that lie together: what is kept of a password. Pure. */
#pragma once

#include "common/base/slice.h"

#include <stdint.h>

#define SHA256_BYTES 32

void sha256(struct slice data, uint8_t out[SHA256_BYTES]);
