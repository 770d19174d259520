// SPDX-License-Identifier: BSD-3-Clause
/* Of the node's data on disk: what the log says of the machine's clock, so that a restarted node
 * knows how long ago the entries came that it finds there. */
#include "node/serve/durable_priv.h"

#include "common/base/hash.h"
#include "common/io/loop.h"

#include <stdio.h>

uint64_t durable_boot(void)
{
    char id[64];
    size_t n = 0;
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f != NULL) {
        n = fread(id, 1, sizeof(id), f);
        (void)fclose(f);
    }
    return n == 0 ? 0 : hash_bytes(id, n, 0);
}

void durable_log_clock(struct durable *d)
{
    char bytes[TAILS_CLOCK_BYTES];
    d->clock_us = loop_clock_us();
    tails_clock_write(bytes, d->boot, d->clock_us);
    d->clock_end = wal_append(d->wal, WAL_CLOCK, 0, 0, 0, slice_of(bytes, sizeof(bytes)));
}
