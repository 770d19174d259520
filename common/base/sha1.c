// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/sha1.h"

#include <stdint.h>
#include <string.h>

#define BLOCK 64

static inline uint32_t rotate(uint32_t v, int n)
{
    return (v << n) | (v >> (32 - n));
}

static void take_block(uint32_t h[5], const unsigned char *block)
{
    uint32_t w[80];
    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    }
    for (int i = 16; i < 80; i++) {
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f;
        uint32_t k;
        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5a827999;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ed9eba1;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8f1bbcdc;
        } else {
            f = b ^ c ^ d;
            k = 0xca62c1d6;
        }
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void sha1_hex(const void *ptr, size_t len, char to[SHA1_HEX_LEN + 1])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const unsigned char *in = ptr;
    size_t left = len;
    for (; left >= BLOCK; in += BLOCK, left -= BLOCK) {
        take_block(h, in);
    }
    /* What is left, a one bit, zeros, and the length in bits: one block or two. */
    unsigned char tail[2 * BLOCK] = {0};
    if (left > 0) {
        memcpy(tail, in, left);
    }
    tail[left] = 0x80;
    size_t bytes = left + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
    uint64_t bits = (uint64_t)len * 8;
    for (size_t i = 0; i < 8; i++) {
        tail[bytes - 1 - i] = (unsigned char)(bits >> (8 * i));
    }
    for (size_t at = 0; at < bytes; at += BLOCK) {
        take_block(h, tail + at);
    }
    for (size_t i = 0; i < SHA1_HEX_LEN; i++) {
        to[i] = "0123456789abcdef"[h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    }
    to[SHA1_HEX_LEN] = '\0';
}
