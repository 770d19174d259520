// SPDX-License-Identifier: BSD-3-Clause
#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void errmsg_set(struct errmsg *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
}

void errmsg_wrap(struct errmsg *e, const char *fmt, ...)
{
    char inner[sizeof e->text];
    memcpy(inner, e->text, sizeof inner);
    inner[sizeof inner - 1] = '\0';

    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);

    /* A message that does not fit is cut at its end: the outermost context is what leads there. */
    size_t len = strlen(e->text);
    snprintf(e->text + len, sizeof e->text - len, ": %s", inner);
}
