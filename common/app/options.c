// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/options.h"

#include "common/base/mem.h"
#include "common/base/num.h"

#include <inttypes.h>

static void *field_of(const struct option *o, void *values)
{
    return (char *)values + o->offset;
}

static const void *field_in(const struct option *o, const void *values)
{
    return (const char *)values + o->offset;
}

/* --- reading --- */

static bool check_range(const struct option *o, int64_t v, struct errmsg *err)
{
    if (v < o->min || v > o->max) {
        bool seconds = o->type == OPT_MS && (o->flags & OPT_SECONDS) != 0;
        int64_t unit = seconds ? 1000 : 1;
        errmsg_set(err, "argument must be between %" PRId64 " and %" PRId64 " inclusive",
                   o->min / unit, o->max / unit);
        return false;
    }
    return true;
}

static bool read_int(const struct option *o, struct slice value, int64_t *out, struct errmsg *err)
{
    if (!num_parse_i64(value, out)) {
        errmsg_set(err, "argument couldn't be parsed into an integer");
        return false;
    }
    return check_range(o, *out, err);
}

static bool read_memory(const struct option *o, struct slice value, int64_t *out,
                        struct errmsg *err)
{
    uint64_t bytes;
    if (!num_parse_memory(value, &bytes) || bytes > INT64_MAX) {
        errmsg_set(err, "argument must be a memory value");
        return false;
    }
    *out = (int64_t)bytes;
    return check_range(o, *out, err);
}

/* "500ms", "5s", "2m", "1h", "1d", or a bare number in the row's unit. */
static bool read_duration(const struct option *o, struct slice value, int64_t *out,
                          struct errmsg *err)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = 0;
    while (digits < value.len &&
           (value.ptr[digits] == '-' || (value.ptr[digits] >= '0' && value.ptr[digits] <= '9'))) {
        digits++;
    }
    struct slice unit = slice_of(value.ptr + digits, value.len - digits);
    int64_t ms = unit.len == 0 ? ((o->flags & OPT_SECONDS) != 0 ? 1000 : 1) : 0;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (slice_is(unit, units[i].name)) {
            ms = units[i].ms;
        }
    }
    int64_t n;
    if (ms == 0 || !num_parse_i64(slice_of(value.ptr, digits), &n)) {
        errmsg_set(err, "argument couldn't be parsed into an integer");
        return false;
    }
    if (__builtin_mul_overflow(n, ms, out)) {
        *out = n < 0 ? INT64_MIN : INT64_MAX;
    }
    return check_range(o, *out, err);
}

static bool read_enum(const struct option *o, struct slice value, int64_t *out, struct errmsg *err)
{
    for (int64_t i = 0; o->names[i] != NULL; i++) {
        if (slice_is(value, o->names[i])) {
            *out = i;
            return true;
        }
    }
    struct str all = {0};
    for (size_t i = 0; o->names[i] != NULL; i++) {
        str_printf(&all, "%s%s", i > 0 ? ", " : "", o->names[i]);
    }
    errmsg_set(err, "argument(s) must be one of the following: %s", str_cstr(&all));
    str_fini(&all);
    return false;
}

static bool read_number(const struct option *o, struct slice value, int64_t *field,
                        struct errmsg *err)
{
    int64_t v = 0;
    bool ok;
    if (o->type == OPT_INT) {
        ok = read_int(o, value, &v, err);
    } else if (o->type == OPT_MEMORY) {
        ok = read_memory(o, value, &v, err);
    } else if (o->type == OPT_MS) {
        ok = read_duration(o, value, &v, err);
    } else {
        ok = read_enum(o, value, &v, err);
    }
    if (ok) {
        *field = v;
    }
    return ok;
}

static bool read_bool(struct slice value, bool *field, struct errmsg *err)
{
    if (slice_is(value, "yes")) {
        *field = true;
    } else if (slice_is(value, "no")) {
        *field = false;
    } else {
        errmsg_set(err, "argument must be 'yes' or 'no'");
        return false;
    }
    return true;
}

static bool read_str(struct slice value, char **field, struct errmsg *err)
{
    if (value.len > 0 && memchr(value.ptr, '\0', value.len) != NULL) {
        errmsg_set(err, "argument contains a NUL byte");
        return false;
    }
    struct str copy = {0};
    str_append_slice(&copy, value);
    mem_free(*field);
    *field = str_steal(&copy);
    return true;
}

bool options_set(const struct options_table *t, void *values, const struct option *o,
                 struct slice value, struct errmsg *err)
{
    (void)t;
    void *field = field_of(o, values);
    switch (o->type) {
    case OPT_INT:
    case OPT_MEMORY:
    case OPT_MS:
    case OPT_ENUM:
        return read_number(o, value, field, err);
    case OPT_BOOL:
        return read_bool(value, field, err);
    case OPT_STR:
        return read_str(value, field, err);
    case OPT_CUSTOM:
        return o->parse(field, value, err);
    }
    INVARIANT(o->type <= OPT_CUSTOM);
    return false;
}

/* --- printing --- */

static void print_duration(const struct option *o, int64_t ms, struct str *to)
{
    if ((o->flags & OPT_SECONDS) == 0) {
        str_append_int(to, ms);
    } else if (ms % 1000 == 0) {
        str_append_int(to, ms / 1000);
    } else {
        str_printf(to, "%" PRId64 "ms", ms);
    }
}

void options_print(const struct options_table *t, const void *values, const struct option *o,
                   struct str *to)
{
    (void)t;
    const void *field = field_in(o, values);
    switch (o->type) {
    case OPT_INT:
    case OPT_MEMORY:
        str_append_int(to, *(const int64_t *)field);
        break;
    case OPT_MS:
        print_duration(o, *(const int64_t *)field, to);
        break;
    case OPT_ENUM:
        str_appendz(to, o->names[*(const int64_t *)field]);
        break;
    case OPT_BOOL:
        str_appendz(to, *(const bool *)field ? "yes" : "no");
        break;
    case OPT_STR:
        str_appendz(to, *(char *const *)field);
        break;
    case OPT_CUSTOM:
        o->print(field, to);
        break;
    }
}

/* --- the whole struct --- */

void options_init(const struct options_table *t, void *values)
{
    memset(values, 0, t->size);
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->rows[i];
        struct errmsg err;
        if (o->alias_of != NULL) {
            INVARIANT(options_find(t, slice_str(o->alias_of)) != NULL);
        } else {
            INVARIANT(options_set(t, values, o, slice_str(o->fallback), &err));
        }
    }
}

void options_fini(const struct options_table *t, void *values)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->rows[i];
        void *field = field_of(o, values);
        if (o->alias_of != NULL) {
            continue;
        }
        if (o->type == OPT_STR) {
            mem_free(*(char **)field);
            *(char **)field = NULL;
        } else if (o->type == OPT_CUSTOM && o->fini != NULL) {
            o->fini(field);
        }
    }
}

void options_copy(const struct options_table *t, void *to, const void *from)
{
    memcpy(to, from, t->size);
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->rows[i];
        void *field = field_of(o, to);
        if (o->alias_of != NULL) {
            continue;
        }
        if (o->type == OPT_STR) {
            *(char **)field = mem_strdup(*(char **)field);
        } else if (o->type == OPT_CUSTOM && o->fini != NULL) {
            /* It owns something: a second one is made from its text. */
            struct str text = {0};
            struct errmsg err;
            o->print(field_in(o, from), &text);
            memset(field, 0, o->size);
            INVARIANT(o->parse(field, str_slice(&text), &err));
            str_fini(&text);
        }
    }
}

const struct option *options_find(const struct options_table *t, struct slice name)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->rows[i];
        if (slice_is(name, o->name)) {
            return o->alias_of == NULL ? o : options_find(t, slice_str(o->alias_of));
        }
    }
    return NULL;
}
