// SPDX-License-Identifier: BSD-3-Clause
/* CRC16/XMODEM (the slot of a key, as in Redis Cluster) and CRC64/Jones (files, DUMP). Sliced by 8.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint16_t crc16(const void *ptr, size_t len);
uint64_t crc64(uint64_t crc, const void *ptr, size_t len);
