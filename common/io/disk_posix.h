// SPDX-License-Identifier: BSD-3-Clause
/* base/disk.h on a real folder. Any thread, as said there. */
#pragma once

#include "common/base/disk.h"
#include "common/base/err.h"

#include <stdbool.h>

/* Makes the folder if it is not there. NULL and err. */
struct disk *disk_posix_new(const char *dir, struct errmsg *err);
/* False: another process has it. Until the disk is freed. */
bool disk_posix_lock(struct disk *d) MUSTCHECK;
/* All files are closed before. */
void disk_posix_free(struct disk **d);
