// SPDX-License-Identifier: BSD-3-Clause
/* Little-endian numbers at any address: what files and links between nodes are made of. */
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void put_le16(char *to, uint16_t v)
{
    v = htole16(v);
    memcpy(to, &v, sizeof(v));
}

static inline void put_le32(char *to, uint32_t v)
{
    v = htole32(v);
    memcpy(to, &v, sizeof(v));
}

static inline void put_le64(char *to, uint64_t v)
{
    v = htole64(v);
    memcpy(to, &v, sizeof(v));
}

static inline uint16_t get_le16(const char *from)
{
    uint16_t v;
    memcpy(&v, from, sizeof(v));
    return le16toh(v);
}

static inline uint32_t get_le32(const char *from)
{
    uint32_t v;
    memcpy(&v, from, sizeof(v));
    return le32toh(v);
}

static inline uint64_t get_le64(const char *from)
{
    uint64_t v;
    memcpy(&v, from, sizeof(v));
    return le64toh(v);
}
