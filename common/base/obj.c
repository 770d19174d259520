// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/obj.h"

#include <stdio.h>
#include <stdlib.h>

void invariant_broken(const char *file, int line, const char *func, const char *cond)
{
    fprintf(stderr, "%s:%d: %s: invariant broken: %s\n", file, line, func, cond);
    fflush(stderr);
    abort();
}
