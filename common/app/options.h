// SPDX-License-Identifier: BSD-3-Clause
/* Options of a daemon as Redis users know them: a file of directives, --directive value on the
 * command line, CONFIG GET/SET/REWRITE at run time.
 *
 * A daemon declares its options once in options.def (X-macro rows) and gets a plain struct with one
 * field each. Rows: OPTION_INT(field, "name", default, min, max, flags, "one sentence"),
 * OPTION_BOOL (yes|no), OPTION_STR, OPTION_MEMORY ("100mb"), OPTION_MS / OPTION_SECONDS (durations;
 * "500ms", "5s", bare numbers in the unit that the row names), OPTION_ENUM (names listed),
 * OPTION_CUSTOM (own parse and print: client-output-buffer-limit, save). The table (struct
 * option[]) carries offset, type, range, flags and text; this module only walks it.
 * flags: OPT_FIXED (not changeable at run time: CONFIG SET answers Redis's error), OPT_SECRET (never
 * logged), OPT_REPEAT (may be given several times), OPT_HIDDEN, OPT_SHARED (proxy and node both know
 * it: --local-nodes hands it on).
 *
 * Owner: the thread that made it; another thread works on a copy (options_copy). */
#pragma once

#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/base/str.h"

enum option_type { OPT_INT, OPT_BOOL, OPT_STR, OPT_MEMORY, OPT_MS, OPT_ENUM, OPT_CUSTOM };
enum {
    OPT_FIXED = 1,
    OPT_SECRET = 2,
    OPT_REPEAT = 4,
    OPT_HIDDEN = 8,
    OPT_SHARED = 16,
    OPT_SECONDS = 32, /* OPT_MS: a bare number is seconds, and that is how it prints */
};

struct option {
    const char *name;
    enum option_type type;
    size_t offset;        /* of the field: int64_t (INT, MEMORY, MS, ENUM), bool, char * (STR) */
    const char *fallback; /* default, as text */
    int64_t min, max;
    const char *const *names; /* ENUM: NULL-terminated */
    unsigned flags;
    const char *text;
    const char *section; /* heading in the generated conf file */
    /* CUSTOM: read into and print from the field; false with a reason */
    bool (*parse)(void *field, struct slice value, struct errmsg *err);
    void (*print)(const void *field, struct str *to);
};

struct options_table {
    const struct option *rows;
    size_t count;
    size_t size; /* of the daemon's struct */
    const char *program;
};

/* All fields set to their defaults. */
void options_init(const struct options_table *t, void *values);
void options_fini(const struct options_table *t, void *values);
void options_copy(const struct options_table *t, void *to, const void *from);
/* argv as given to main: [file] [--name value...]; "--help" and "--version" are the caller's.
 * A value may be several words up to the next --name. Unknown names go to `extra` if not NULL
 * (called with name and value, false: reject), else stop with a reason. */
typedef bool (*options_extra_fn)(void *arg, const char *name, struct slice value, struct errmsg *err);
bool options_load(const struct options_table *t, void *values, int argc, char **argv,
                  options_extra_fn extra, void *arg, char **conf_path, struct errmsg *err) MUSTCHECK;
bool options_load_file(const struct options_table *t, void *values, const char *path,
                       options_extra_fn extra, void *arg, struct errmsg *err) MUSTCHECK;
/* The pure part, for tests and fuzzing: a whole file's text; `name` is for messages. */
bool options_load_text(const struct options_table *t, void *values, struct slice text,
                       const char *name, options_extra_fn extra, void *arg,
                       struct errmsg *err) MUSTCHECK;
const struct option *options_find(const struct options_table *t, struct slice name);
/* At run time; err is the text behind "ERR CONFIG SET failed (possibly related to argument 'x') - ". */
bool options_set(const struct options_table *t, void *values, const struct option *o,
                 struct slice value, struct errmsg *err) MUSTCHECK;
void options_print(const struct options_table *t, const void *values, const struct option *o,
                   struct str *to);
/* Keeps comments and order of the file, changes lines whose value changed, appends the rest;
 * written aside and renamed into place. */
bool options_rewrite(const struct options_table *t, const void *values, const char *path,
                     struct errmsg *err) MUSTCHECK;
/* The whole conf file with every directive explained, commented out at its default. */
void options_conf_text(const struct options_table *t, struct str *to);
void options_help_text(const struct options_table *t, struct str *to);
