// SPDX-License-Identifier: BSD-3-Clause
/* Options of a daemon as Redis users know them: a file of directives, --directive value on the
 * command line, CONFIG GET/SET/REWRITE at run time.
 *
 * A daemon declares its options once in options.def (X-macro rows, see options_macros.h) and gets a
 * plain struct with one field each: OPTION_INT, OPTION_BOOL (yes|no), OPTION_STR, OPTION_MEMORY
 * ("100mb"), OPTION_MS / OPTION_SECONDS (durations; "500ms", "5s", bare numbers in the unit that
 * the row names), OPTION_ENUM (names listed), OPTION_CUSTOM (own parse and print:
 * client-output-buffer-limit, save), OPTION_ALIAS (another name of a row). The table (struct
 * option[]) carries offset, type, range, flags and text; this module only walks it.
 *
 * A value is one text: several words on a line are joined with a space. Only strings and custom
 * options take several. OPT_REPEAT options may stand on several lines: strings are joined with a
 * newline, custom texts with a space, and then parsed as one.
 * flags: OPT_FIXED (not changeable at run time: CONFIG SET answers Redis's error), OPT_SECRET
 * (never logged), OPT_PROTECTED (CONFIG SET only with enable-protected-configs), OPT_REPEAT,
 * OPT_HIDDEN (not in help and conf file; CONFIG GET shows it by its exact name only), OPT_SHARED
 * (proxy and node both know it: --local-nodes hands it on).
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
    OPT_PROTECTED = 64,
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
    /* CUSTOM: read into and print from the field; false with a reason, the field as it was. The
     * field starts as zeros; what print says, parse reads. */
    bool (*parse)(void *field, struct slice value, struct errmsg *err);
    void (*print)(const void *field, struct str *to);
    void (*fini)(void *field); /* CUSTOM: frees what the field owns; NULL: it owns nothing */
    size_t size;               /* CUSTOM with fini: of the field */
    const char *alias_of;      /* ALIAS: the row meant; only `name` and `flags` count beside it */
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
/* argv as given to main: [file] [--name value...]; "-" is standard input; "--help" and "--version"
 * are the caller's. A value may be several words up to the next --name. Unknown names go to `extra`
 * if not NULL (called with name and value, false: reject), else stop with a reason; directives of
 * Redis that are no options here are taken or refused by redis_directives.h, and `ignored` gets the
 * names of those that are taken without effect, each after a blank. `conf_path` gets the file's
 * absolute name or NULL; free it with mem_free. The values were initialised before; after a failure
 * they are valid, and a mixture. Messages: "shoal.conf:12: directive 'port': argument must be
 * between 0 and 65535 inclusive". */
typedef bool (*options_extra_fn)(void *arg, const char *name, struct slice value,
                                 struct errmsg *err);
bool options_load(const struct options_table *t, void *values, int argc, char **argv,
                  options_extra_fn extra, void *arg, char **conf_path, struct str *ignored,
                  struct errmsg *err) MUSTCHECK;
bool options_load_file(const struct options_table *t, void *values, const char *path,
                       options_extra_fn extra, void *arg, struct errmsg *err) MUSTCHECK;
/* The pure part, for tests and fuzzing: a whole file's text; `name` is for messages. "include" is
 * known to files only. */
bool options_load_text(const struct options_table *t, void *values, struct slice text,
                       const char *name, options_extra_fn extra, void *arg,
                       struct errmsg *err) MUSTCHECK;
/* Names fold case; an alias gives the row that it means. NULL: unknown. */
const struct option *options_find(const struct options_table *t, struct slice name);
/* Reads `value` into the field; if it can't, the field keeps its value. err is the text behind "ERR
 * CONFIG SET failed (possibly related to argument 'x') - ". */
bool options_set(const struct options_table *t, void *values, const struct option *o,
                 struct slice value, struct errmsg *err) MUSTCHECK;
/* The value as CONFIG GET shows it. */
void options_print(const struct options_table *t, const void *values, const struct option *o,
                   struct str *to);
/* Keeps comments and order of the file, changes lines whose value changed, appends the rest;
 * written aside and renamed into place. */
bool options_rewrite(const struct options_table *t, const void *values, const char *path,
                     struct errmsg *err) MUSTCHECK;
/* The whole conf file with every directive explained, commented out at its default. */
void options_conf_text(const struct options_table *t, struct str *to);
void options_help_text(const struct options_table *t, struct str *to);
