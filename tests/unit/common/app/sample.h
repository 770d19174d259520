// SPDX-License-Identifier: BSD-3-Clause
/* The options of sample.def as a struct and a table. */
#pragma once

#include "common/app/options.h"
#include "common/base/num.h"

struct sample_pair {
    int64_t one;
    int64_t two;
};

struct sample {
#define OPTIONS_AS_FIELDS
#include "common/app/options_macros.h"

#include "tests/unit/common/app/sample.def"
};

static const char *const sample_levels[] = {"debug", "notice", "warning", NULL};

static bool sample_pair_parse(void *field, struct slice value, struct errmsg *err)
{
    const char *blank = value.len == 0 ? NULL : memchr(value.ptr, ' ', value.len);
    struct sample_pair p;
    if (blank == NULL || !num_parse_i64(slice_of(value.ptr, (size_t)(blank - value.ptr)), &p.one) ||
        !num_parse_i64(slice_of(blank + 1, (size_t)(value.ptr + value.len - blank - 1)), &p.two)) {
        errmsg_set(err, "two numbers are needed");
        return false;
    }
    *(struct sample_pair *)field = p;
    return true;
}

static void sample_pair_print(const void *field, struct str *to)
{
    const struct sample_pair *p = field;
    str_printf(to, "%lld %lld", (long long)p->one, (long long)p->two);
}

static bool sample_words_parse(void *field, struct slice value, struct errmsg *err)
{
    (void)err;
    str_clear(field);
    str_append_slice(field, value);
    return true;
}

static void sample_words_print(const void *field, struct str *to)
{
    str_append_slice(to, str_slice(field));
}

static void sample_words_fini(void *field)
{
    str_fini(field);
}

static const struct option sample_rows[] = {
#define OPTIONS_AS_ROWS struct sample
#include "common/app/options_macros.h"

#include "tests/unit/common/app/sample.def"
};

static const struct options_table sample_table = {
    .rows = sample_rows,
    .count = ARRAY_LEN(sample_rows),
    .size = sizeof(struct sample),
    .program = "sample",
};
