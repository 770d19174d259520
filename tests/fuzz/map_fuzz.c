// SPDX-License-Identifier: BSD-3-Clause
/* Hostile bytes as an encoded map. The checksum is put right first, else nothing would pass it;
 * what is accepted must be a map that holds, and encode to itself again. */
#include "common/base/crc.h"
#include "common/base/mem.h"
#include "common/model/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct map *raw = map_decode(slice_of((const char *)data, size));
    map_unref(&raw);
    if (size < 8) {
        return 0;
    }
    char *copy = mem_memdup(data, size);
    uint64_t crc = crc64(0, copy, size - 8);
    for (size_t i = 0; i < 8; i++) {
        copy[size - 8 + i] = (char)(unsigned char)(crc >> (8 * i));
    }
    struct map *m = map_decode(slice_of(copy, size));
    if (m != NULL) {
        INVARIANT(map_check(m) == NULL);
        struct str again = {0};
        map_encode(m, &again);
        struct map *same = map_decode(str_slice(&again));
        INVARIANT(same != NULL);
        INVARIANT(same->epoch == m->epoch);
        INVARIANT(same->n_nodes == m->n_nodes);
        map_unref(&same);
        str_fini(&again);
        map_unref(&m);
    }
    mem_free(copy);
    return 0;
}
