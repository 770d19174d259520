// SPDX-License-Identifier: BSD-3-Clause
/* Users from files: an ACL file (one "user ..." a line), and `user` directives of a configuration
 * file. Reading takes all lines or none. */
#pragma once

#include "common/base/err.h"
#include "common/cmd/acl.h"

/* What a program was told about its users. */
struct acl_sources {
    const char *requirepass;
    const char *directives; /* of `user`, one a line */
    const char *file;       /* aclfile; "": none */
    const char *dir;        /* where a relative one lies */
    bool open_channels;     /* acl-pubsub-default allchannels */
};

/* The users that a program starts with; NULL and why not. */
struct acl_users *acl_start(const struct acl_sources *from, struct errmsg *err);

/* NULL: `errors` says which lines are wrong, or why it can't be read. */
struct acl_users *acl_file_load(const struct acl_sources *from, struct str *errors);
/* Written aside and renamed into place. False: the old one stays; err says why. */
bool acl_file_save(const struct acl_sources *from, const struct acl_users *users,
                   struct errmsg *err) MUSTCHECK;
/* The `user` directives that a configuration file needs for these, one a line: none if the other
 * two say it already. */
void acl_print_needed(const struct acl_users *users, const char *requirepass, const char *file,
                      struct str *to);
/* All of a set as a file's text. */
void acl_print_all(const struct acl_users *users, struct str *to);
/* The set `kept` from an earlier run, in which the program's own files said `then`, now that they
 * say `now`: a user of whom they say something else than then is as they say; the others are as
 * they were kept. */
struct acl_users *acl_merge(const struct acl_users *kept, const struct acl_users *then,
                            const struct acl_users *now);
/* A file's text; `name` is for the errors. */
struct acl_users *acl_file_parse(struct slice text, const char *name, bool open_channels,
                                 struct str *errors);
