// SPDX-License-Identifier: BSD-3-Clause
/* Any text as an ACL file: it is taken or refused with a reason, and users that were taken print as
 * rules that mean the same. A command line of the input is put to each of them. */
#include "common/app/acl_file.h"
#include "common/base/mem.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_print(const struct acl_users *users)
{
    struct str one = {0};
    struct str two = {0};
    struct str errors = {0};
    for (size_t i = 0; i < acl_users_count(users); i++) {
        str_appendz(&one, "user ");
        acl_user_print(acl_users_at(users, i), &one);
        str_append_char(&one, '\n');
    }
    struct acl_users *again = acl_file_parse(str_slice(&one), "again", true, &errors);
    if (again == NULL) {
        fprintf(stderr, "%s\n%s\n", str_cstr(&one), str_cstr(&errors));
    }
    INVARIANT(again != NULL);
    for (size_t i = 0; i < acl_users_count(again); i++) {
        str_appendz(&two, "user ");
        acl_user_print(acl_users_at(again, i), &two);
        str_append_char(&two, '\n');
    }
    INVARIANT(slice_eq(str_slice(&one), str_slice(&two)));
    acl_users_unref(&again);
    str_fini(&one);
    str_fini(&two);
    str_fini(&errors);
}

static void check_command(const struct acl_users *users, struct slice line)
{
    struct slice argv[64];
    size_t argc = 0;
    while (line.len > 0 && argc < ARRAY_LEN(argv)) {
        const char *blank = memchr(line.ptr, ' ', line.len);
        size_t len = blank == NULL ? line.len : (size_t)(blank - line.ptr);
        argv[argc++] = slice_of(line.ptr, len);
        size_t used = MIN(len + 1, line.len);
        line = slice_of(line.ptr + used, line.len - used);
    }
    const struct command *c = argc == 0 ? NULL : command_find(argv, argc);
    if (c == NULL || !command_arity_ok(c, argc)) {
        return;
    }
    struct key_list keys;
    key_list_init(&keys);
    for (size_t i = 0; i < acl_users_count(users); i++) {
        const struct acl_user *u = acl_users_at(users, i);
        size_t at;
        enum acl_answer a = acl_check(u, c, argv, argc, &keys, &at);
        INVARIANT(a == ACL_YES || at < argc);
        INVARIANT(a == ACL_YES || !acl_user_unrestricted(u));
    }
    key_list_fini(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str errors = {0};
    struct slice text = slice_of((const char *)data, size);
    const char *end = size == 0 ? NULL : memchr(data, '\n', size);
    size_t first = end == NULL ? 0 : (size_t)(end - text.ptr) + 1;
    struct slice rules = slice_of(text.ptr + first, text.len - first);
    struct acl_users *users = acl_file_parse(rules, "fuzz", false, &errors);
    INVARIANT((users == NULL) == (errors.len > 0));
    if (users != NULL) {
        check_print(users);
        if (first > 0) {
            check_command(users, slice_of(text.ptr, first - 1));
        }
    }
    acl_users_unref(&users);
    str_fini(&errors);
    return 0;
}
