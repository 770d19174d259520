// SPDX-License-Identifier: BSD-3-Clause
/* INFO: a program's sections as a table, the ones that a client asked for, and their text.
 *
 *   # Server\r\n
 *   redis_version:7.0.15\r\n
 *   ...
 *   \r\n
 *   # Clients\r\n */
#pragma once

#include "common/base/str.h"
#include "common/resp/write.h"

typedef void (*info_fn)(void *arg, struct str *to);

enum info_class {
    INFO_DEFAULT,    /* in INFO without a word, in "all" and "everything" */
    INFO_ALL,        /* in "all" and "everything": commandstats, latencystats */
    INFO_EVERYTHING, /* in "everything" only */
    INFO_NAMED,      /* only when asked for by its name: debug */
};

struct info_section {
    const char *name;    /* "server" */
    const char *heading; /* "Server" */
    enum info_class class;
    info_fn fn; /* appends the lines */
};

/* `names` are INFO's arguments, none: the default. "default", "all", "everything" and sections'
 * names may be mixed; unknown ones are passed over. Sections come in the table's order, once. */
void info_text(const struct info_section *sections, size_t count, const struct slice *names,
               size_t name_count, void *arg, struct str *to);
/* The same as the reply to a client. */
void info_reply(const struct info_section *sections, size_t count, const struct slice *names,
                size_t name_count, void *arg, struct resp_writer *w);

/* One line each, "name:value". */
void info_int(struct str *to, const char *name, int64_t v);
void info_str(struct str *to, const char *name, const char *v);
void info_double(struct str *to, const char *name, double v); /* two digits */
/* Bytes, and again for people: used_memory:1048576, used_memory_human:1.00M. */
void info_bytes(struct str *to, const char *name, size_t bytes);
