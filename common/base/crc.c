// SPDX-License-Identifier: BSD-3-Clause
/* Sliced by 8: table k holds what a byte contributes when k more bytes follow it, so that eight
 * look-ups that do not depend on each other replace a chain of eight. */
#include "common/base/crc.h"

#include <endian.h>
#include <string.h>

static uint16_t table16[8][256]; /* x^16+x^12+x^5+1, most significant bit first, start 0 */
static uint64_t table64[8][256]; /* Jones's polynomial, reflected, start as given */

#define POLY16 0x1021U
#define POLY64 0x95AC9329AC4BC9B5ULL /* 0xAD93D23594C935A9 with its bits in reverse */

/* 20 KB of tables are quicker made (a few microseconds) than read. */
static __attribute__((constructor)) void make_tables(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t c16 = byte << 8;
        uint64_t c64 = byte;
        for (int bit = 0; bit < 8; bit++) {
            c16 = (c16 & 0x8000U) != 0 ? c16 << 1 ^ POLY16 : c16 << 1;
            c64 = (c64 & 1) != 0 ? c64 >> 1 ^ POLY64 : c64 >> 1;
        }
        table16[0][byte] = (uint16_t)c16;
        table64[0][byte] = c64;
    }
    for (int k = 1; k < 8; k++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint16_t c16 = table16[k - 1][byte];
            uint64_t c64 = table64[k - 1][byte];
            table16[k][byte] = (uint16_t)(c16 << 8 ^ table16[0][c16 >> 8]);
            table64[k][byte] = c64 >> 8 ^ table64[0][c64 & 0xFF];
        }
    }
}

uint16_t crc16(const void *ptr, size_t len)
{
    const unsigned char *p = ptr;
    unsigned crc = 0;
    for (; len >= 8; p += 8, len -= 8) {
        crc = table16[7][(crc >> 8) ^ p[0]] ^ table16[6][(crc & 0xFF) ^ p[1]] ^ table16[5][p[2]] ^
              table16[4][p[3]] ^ table16[3][p[4]] ^ table16[2][p[5]] ^ table16[1][p[6]] ^
              table16[0][p[7]];
    }
    if (len >= 4) {
        crc = table16[3][(crc >> 8) ^ p[0]] ^ table16[2][(crc & 0xFF) ^ p[1]] ^ table16[1][p[2]] ^
              table16[0][p[3]];
        p += 4;
        len -= 4;
    }
    for (; len > 0; p++, len--) {
        crc = (crc << 8 & 0xFFFF) ^ table16[0][(crc >> 8) ^ *p];
    }
    return (uint16_t)crc;
}

uint64_t crc64(uint64_t crc, const void *ptr, size_t len)
{
    const unsigned char *p = ptr;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        crc ^= le64toh(word);
        crc = table64[7][crc & 0xFF] ^ table64[6][crc >> 8 & 0xFF] ^ table64[5][crc >> 16 & 0xFF] ^
              table64[4][crc >> 24 & 0xFF] ^ table64[3][crc >> 32 & 0xFF] ^
              table64[2][crc >> 40 & 0xFF] ^ table64[1][crc >> 48 & 0xFF] ^ table64[0][crc >> 56];
    }
    for (; len > 0; p++, len--) {
        crc = crc >> 8 ^ table64[0][(crc ^ *p) & 0xFF];
    }
    return crc;
}
