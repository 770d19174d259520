// SPDX-License-Identifier: BSD-3-Clause
/* Makes a daemon's options.def into its struct and its table. No #pragma once: it is included once
 * before each use and once behind it.
 *
 *   struct settings {                          static const struct option rows[] = {
 *   #define OPTIONS_AS_FIELDS                  #define OPTIONS_AS_ROWS struct settings
 *   #include "common/app/options_macros.h"     #include "common/app/options_macros.h"
 *   #include "node/options.def"                #include "node/options.def"
 *   #include "common/app/options_macros.h"     #include "common/app/options_macros.h"
 *   };                                         };
 *
 * Rows (every default is text, read like a value from the file; field types in brackets):
 *   OPTION_INT(field, name, default, min, max, flags, text)                     [int64_t]
 *   OPTION_BOOL(field, name, default, flags, text)                              [bool]
 *   OPTION_STR(field, name, default, flags, text)                               [char *, never
 * NULL] OPTION_MEMORY(field, name, default, min, max, flags, text)                  [int64_t,
 * bytes] OPTION_MS(field, name, default, min, max, flags, text)                      [int64_t, ms]
 *   OPTION_SECONDS: the same, but a bare number is seconds; min and max in ms   [int64_t, ms]
 *   OPTION_ENUM(field, name, names, default, flags, text)                       [int64_t, index]
 *   OPTION_CUSTOM(field, type, name, parse, print, default, flags, text)        [type]
 *   OPTION_CUSTOM_OWNER(field, type, name, parse, print, fini, default, flags, text)
 *   OPTION_ALIAS(name, of, flags)
 * #undef and #define SECTION "Network" before the rows of a heading in the conf file. */

#undef OPTION_INT
#undef OPTION_BOOL
#undef OPTION_STR
#undef OPTION_MEMORY
#undef OPTION_MS
#undef OPTION_SECONDS
#undef OPTION_ENUM
#undef OPTION_CUSTOM
#undef OPTION_CUSTOM_OWNER
#undef OPTION_ALIAS

#if defined(OPTIONS_AS_FIELDS)
#undef OPTIONS_AS_FIELDS
#define OPTION_INT(field, ...)                int64_t field;
#define OPTION_BOOL(field, ...)               bool field;
#define OPTION_STR(field, ...)                char *field;
#define OPTION_MEMORY(field, ...)             int64_t field;
#define OPTION_MS(field, ...)                 int64_t field;
#define OPTION_SECONDS(field, ...)            int64_t field;
#define OPTION_ENUM(field, ...)               int64_t field;
#define OPTION_CUSTOM(field, type, ...)       type field;
#define OPTION_CUSTOM_OWNER(field, type, ...) type field;
#define OPTION_ALIAS(...)

#elif defined(OPTIONS_AS_ROWS) && !defined(OPTION_ROW)
/* clang-format off */
#define OPTION_ROW(field_, name_, type_, default_, min_, max_, flags_, text_)                      \
    .name = (name_), .type = (type_), .offset = offsetof(OPTIONS_AS_ROWS, field_),                 \
    .fallback = (default_), .min = (min_), .max = (max_), .flags = (flags_), .text = (text_),      \
    .section = SECTION
#define OPTION_INT(field, name, fallback, low, high, flags, text)                                  \
    {OPTION_ROW(field, name, OPT_INT, fallback, low, high, flags, text)},
#define OPTION_BOOL(field, name, fallback, flags, text)                                            \
    {OPTION_ROW(field, name, OPT_BOOL, fallback, 0, 1, flags, text)},
#define OPTION_STR(field, name, fallback, flags, text)                                             \
    {OPTION_ROW(field, name, OPT_STR, fallback, 0, 0, flags, text)},
#define OPTION_MEMORY(field, name, fallback, low, high, flags, text)                               \
    {OPTION_ROW(field, name, OPT_MEMORY, fallback, low, high, flags, text)},
#define OPTION_MS(field, name, fallback, low, high, flags, text)                                   \
    {OPTION_ROW(field, name, OPT_MS, fallback, low, high, flags, text)},
#define OPTION_SECONDS(field, name, fallback, low, high, flags, text)                              \
    {OPTION_ROW(field, name, OPT_MS, fallback, low, high, (flags) | OPT_SECONDS, text)},
#define OPTION_ENUM(field, name, enum_names, fallback, flags, text)                                \
    {OPTION_ROW(field, name, OPT_ENUM, fallback, 0, 0, flags, text), .names = enum_names},
#define OPTION_CUSTOM(field, kind, name, parser, printer, fallback, flags, text)                   \
    {OPTION_ROW(field, name, OPT_CUSTOM, fallback, 0, 0, flags, text),                             \
     .parse = parser, .print = printer},
#define OPTION_CUSTOM_OWNER(field, kind, name, parser, printer, freer, fallback, flags, text)      \
    {OPTION_ROW(field, name, OPT_CUSTOM, fallback, 0, 0, flags, text),                             \
     .parse = parser, .print = printer, .fini = freer, .size = sizeof(kind)},
#define OPTION_ALIAS(name_, of, flags_) {.name = (name_), .alias_of = (of), .flags = (flags_)},
/* clang-format on */
#else
#undef OPTIONS_AS_ROWS
#undef OPTION_ROW
#undef SECTION
#endif
