// SPDX-License-Identifier: BSD-3-Clause
/* Hashes of bytes that strangers choose: XXH3 with a secret seed. Pure; the seed is passed in. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *ptr, size_t len, uint64_t seed);
/* ASCII case-blind, for names. At most 64 bytes are looked at. */
uint64_t hash_name(const char *ptr, size_t len);
