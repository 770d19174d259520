// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/acl_file.h"

#include "common/app/options.h"
#include "common/app/options_priv.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <stdio.h>

/* The words of a line, cut at blanks: nothing in it needs quotes. */
struct line_words {
    struct slice *argv;
    size_t argc;
};

static void cut(struct slice line, struct line_words *w)
{
    size_t i = 0;
    w->argc = 0;
    w->argv = NULL;
    for (;;) {
        while (i < line.len && isspace((unsigned char)line.ptr[i])) {
            i++;
        }
        size_t from = i;
        while (i < line.len && !isspace((unsigned char)line.ptr[i])) {
            i++;
        }
        if (i == from) {
            return;
        }
        if (w->argc % 8 == 0) {
            w->argv = mem_realloc(w->argv, (w->argc + 8) * sizeof(*w->argv));
        }
        w->argv[w->argc++] = slice_of(line.ptr + from, i - from);
    }
}

/* Applies the words behind the name; `where` is for the error. */
static bool apply(struct acl_user *u, const struct line_words *w, size_t first, const char *where,
                  bool open_channels, struct str *errors)
{
    struct str error = {0};
    bool ok = acl_user_apply(u, w->argv + first, w->argc - first, open_channels, &error);
    if (!ok) {
        str_printf(errors, "%s: %s. ", where, str_cstr(&error));
    }
    str_fini(&error);
    return ok;
}

/* --- ACL files --- */

static void parse_line(struct acl_users **users, bool *default_seen, const struct line_words *w,
                       const char *where, bool open_channels, struct str *errors)
{
    if (!slice_eq(w->argv[0], SLICE("user")) || w->argc < 2) {
        str_printf(errors, "%s: line should start with user keyword followed by the username. ",
                   where);
        return;
    }
    struct slice name = w->argv[1];
    bool is_default = slice_eq(name, SLICE(ACL_DEFAULT));
    if (!acl_name_ok(name)) {
        str_printf(errors, "%s: username '%.*s' contains invalid characters. ", where,
                   (int)name.len, name.ptr);
        return;
    }
    if (is_default ? *default_seen : acl_users_find(*users, name) != NULL) {
        str_printf(errors, "%s: Duplicate user '%.*s' found. ", where, (int)name.len, name.ptr);
        return;
    }
    *default_seen |= is_default;
    struct acl_user *u = acl_user_new(name, open_channels);
    if (!apply(u, w, 2, where, open_channels, errors)) {
        acl_user_free(&u);
        return;
    }
    struct acl_users *next = acl_users_with(*users, u);
    acl_users_unref(users);
    *users = next;
}

struct acl_users *acl_file_parse(struct slice text, const char *name, bool open_channels,
                                 struct str *errors)
{
    struct acl_users *users = acl_users_new();
    struct str where = {0};
    struct slice line;
    bool default_seen = false;
    for (int number = 1; options_next_line(&text, &line); number++) {
        struct line_words w;
        if (line.len == 0 || line.ptr[0] == '#') {
            continue;
        }
        cut(line, &w);
        str_clear(&where);
        str_printf(&where, "%s:%d", name, number);
        if (w.argc > 0) {
            parse_line(&users, &default_seen, &w, str_cstr(&where), open_channels, errors);
        }
        mem_free(w.argv);
    }
    str_fini(&where);
    if (errors->len > 0) {
        str_appendz(errors, "WARNING: ACL errors detected, no change to the previously active ACL "
                            "rules was performed");
        acl_users_unref(&users);
    }
    return users;
}

static void path_of(const struct acl_sources *from, struct str *to)
{
    if (from->file[0] != '/' && from->dir[0] != '\0') {
        str_printf(to, "%s/", from->dir);
    }
    str_appendz(to, from->file);
}

struct acl_users *acl_file_load(const struct acl_sources *from, struct str *errors)
{
    struct str path = {0};
    struct str text = {0};
    struct errmsg err;
    struct acl_users *users = NULL;
    path_of(from, &path);
    if (options_read_file(str_cstr(&path), &text, &err)) {
        users = acl_file_parse(str_slice(&text), str_cstr(&path), from->open_channels, errors);
    } else {
        str_printf(errors, "Error loading ACLs, opening file '%s': %s", str_cstr(&path), err.text);
    }
    str_fini(&path);
    str_fini(&text);
    return users;
}

static void print_directives(const struct acl_users *users, struct str *to)
{
    for (size_t i = 0; i < acl_users_count(users); i++) {
        str_appendz(to, i > 0 ? "\n" : "");
        acl_user_print(acl_users_at(users, i), to);
    }
}

void acl_print_all(const struct acl_users *users, struct str *to)
{
    for (size_t i = 0; i < acl_users_count(users); i++) {
        str_appendz(to, "user ");
        acl_user_print(acl_users_at(users, i), to);
        str_append_char(to, '\n');
    }
}

bool acl_file_save(const struct acl_sources *from, const struct acl_users *users,
                   struct errmsg *err)
{
    struct str path = {0};
    struct str text = {0};
    path_of(from, &path);
    acl_print_all(users, &text);
    bool ok = options_replace_file(str_cstr(&path), str_slice(&text), err);
    str_fini(&path);
    str_fini(&text);
    return ok;
}

/* --- directives --- */

static bool parse_directive(struct acl_users **users, struct acl_users *seen, struct slice line,
                            bool open_channels, struct errmsg *err)
{
    struct line_words w;
    struct str errors = {0};
    cut(line, &w);
    if (w.argc == 0) {
        mem_free(w.argv);
        return true;
    }
    struct slice name = w.argv[0];
    bool ok = false;
    if (!acl_name_ok(name)) {
        errmsg_set(err, "user: spaces are not allowed in names");
    } else if (acl_users_find(seen, name) != NULL && !slice_eq(name, SLICE(ACL_DEFAULT))) {
        errmsg_set(err,
                   "user: Duplicate user '%.*s' found. A user can only be defined once in "
                   "config files",
                   (int)MIN(name.len, (size_t)64), name.ptr);
    } else {
        struct acl_user *u = acl_user_new(name, open_channels);
        if (slice_eq(name, SLICE(ACL_DEFAULT))) {
            (void)acl_user_rule(u, SLICE("reset"), open_channels);
        }
        ok = apply(u, &w, 1, "user", open_channels, &errors);
        if (ok) {
            struct acl_users *next = acl_users_with(*users, u);
            acl_users_unref(users);
            *users = next;
        } else {
            errmsg_set(err, "%s", str_cstr(&errors));
            acl_user_free(&u);
        }
    }
    str_fini(&errors);
    mem_free(w.argv);
    return ok;
}

static bool default_twice(struct slice text)
{
    struct slice line;
    int seen = 0;
    while (options_next_line(&text, &line)) {
        size_t n = strlen(ACL_DEFAULT);
        seen += line.len >= n && memcmp(line.ptr, ACL_DEFAULT, n) == 0 &&
                (line.len == n || isspace((unsigned char)line.ptr[n]));
    }
    return seen > 1;
}

static bool add_directives(struct acl_users **users, const struct acl_sources *from,
                           struct errmsg *err)
{
    struct slice text = slice_str(from->directives);
    struct slice line;
    if (default_twice(text)) {
        errmsg_set(err, "user: Duplicate user 'default' found. A user can only be defined once in "
                        "config files");
        return false;
    }
    while (options_next_line(&text, &line)) {
        if (!parse_directive(users, *users, line, from->open_channels, err)) {
            return false;
        }
    }
    return true;
}

struct acl_users *acl_start(const struct acl_sources *from, struct errmsg *err)
{
    struct str errors = {0};
    struct acl_users *users;
    if (from->directives[0] != '\0' && from->file[0] != '\0') {
        errmsg_set(err, "users are defined by `user` directives and by aclfile: only one of the "
                        "two is possible");
        return NULL;
    }
    if (from->file[0] != '\0') {
        users = acl_file_load(from, &errors);
        if (users == NULL) {
            errmsg_set(err, "%s", str_cstr(&errors));
        }
        str_fini(&errors);
        return users;
    }
    users = acl_users_new();
    if (from->requirepass[0] != '\0') {
        struct acl_user *u = acl_user_copy(acl_users_default(users));
        acl_user_set_password(u, slice_str(from->requirepass));
        struct acl_users *next = acl_users_with(users, u);
        acl_users_unref(&users);
        users = next;
    }
    if (!add_directives(&users, from, err)) {
        acl_users_unref(&users);
    }
    return users;
}

void acl_print_needed(const struct acl_users *users, const char *requirepass, const char *file,
                      struct str *to)
{
    const struct acl_sources plain = {
        .requirepass = requirepass, .directives = "", .file = "", .dir = ""};
    struct str without = {0};
    struct errmsg err;
    struct acl_users *fresh = acl_start(&plain, &err);
    INVARIANT(fresh != NULL);
    print_directives(users, to);
    print_directives(fresh, &without);
    if (file[0] != '\0' || slice_eq(str_slice(to), str_slice(&without))) {
        str_clear(to);
    }
    acl_users_unref(&fresh);
    str_fini(&without);
}

/* --- sets that outlive a program --- */

static bool same(const struct acl_user *a, const struct acl_user *b)
{
    struct str one = {0}, other = {0};
    if (a == NULL || b == NULL) {
        return a == b;
    }
    acl_user_print(a, &one);
    acl_user_print(b, &other);
    bool equal = slice_eq(str_slice(&one), str_slice(&other));
    str_fini(&one);
    str_fini(&other);
    return equal;
}

static void replace(struct acl_users **set, struct acl_users *next)
{
    acl_users_unref(set);
    *set = next;
}

struct acl_users *acl_merge(const struct acl_users *kept, const struct acl_users *then,
                            const struct acl_users *now)
{
    struct acl_users *out = acl_users_new();
    const struct acl_users *const of[2] = {kept, now};
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < acl_users_count(of[k]); i++) {
            const struct acl_user *u = acl_users_at(of[k], i);
            struct slice name = acl_user_name(u);
            bool files = !same(acl_users_find(then, name), acl_users_find(now, name));
            if (files == (k == 1)) {
                replace(&out, acl_users_with(out, acl_user_ref(u)));
            }
        }
    }
    return out;
}
