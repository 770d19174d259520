// SPDX-License-Identifier: BSD-3-Clause
/* Any text as a configuration file: it is taken or refused with a reason, and what was taken reads
 * back from what CONFIG GET shows. */
#include "tests/unit/common/app/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sample values;
    struct sample copy;
    struct errmsg err = {.text = ""};
    options_init(&sample_table, &values);
    struct slice text = slice_of((const char *)data, size);
    bool ok = options_load_text(&sample_table, &values, text, "fuzz", NULL, NULL, &err);
    INVARIANT(ok || err.text[0] != '\0');
    options_copy(&sample_table, &copy, &values);
    for (size_t i = 0; i < sample_table.count; i++) {
        const struct option *o = &sample_table.rows[i];
        if (o->alias_of != NULL) {
            continue;
        }
        struct str one = {0};
        struct str two = {0};
        options_print(&sample_table, &values, o, &one);
        INVARIANT(options_set(&sample_table, &copy, o, str_slice(&one), &err));
        options_print(&sample_table, &copy, o, &two);
        INVARIANT(slice_eq(str_slice(&one), str_slice(&two)));
        str_fini(&one);
        str_fini(&two);
    }
    options_fini(&sample_table, &copy);
    options_fini(&sample_table, &values);
    return 0;
}
