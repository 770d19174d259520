// SPDX-License-Identifier: BSD-3-Clause
/* ACL and AUTH as proxy and node both answer them. What changes users makes a new set and leaves
 * it to the program to install that. */
#pragma once

#include "common/app/acl_file.h"

/* CAT, DRYRUN, GENPASS, GETUSER, HELP, LIST, USERS, WHOAMI. False: it is none of these. `self` is
 * who asks; `keys` room for the work. */
bool acl_command_read(const struct acl_users *users, const struct acl_user *self,
                      const struct command *c, const struct slice *argv, size_t argc,
                      struct key_list *keys, struct resp_writer *w);

/* SETUSER, DELUSER, LOAD, SAVE: answers, and returns the new set, or NULL if nothing changes. */
struct acl_users *acl_command_change(const struct acl_users *users, const struct acl_sources *from,
                                     const struct command *c, const struct slice *argv, size_t argc,
                                     struct resp_writer *w);

/* AUTH's words. False: refused. */
bool auth_read(const struct acl_users *users, const struct slice *argv, size_t argc,
               struct slice *user, struct slice *pass, struct resp_writer *w);
/* Who may come in with these; NULL: nobody, and that is answered. */
const struct acl_user *auth_check(const struct acl_users *users, struct slice user,
                                  struct slice pass, struct resp_writer *w);
/* Whether a client that has said nothing may do anything at all. */
bool auth_needed(const struct acl_users *users);

/* CONFIG SET requirepass: the set with that password for the default user. */
struct acl_users *acl_with_requirepass(const struct acl_users *users, const char *password);

/* Hides the passwords of AUTH, HELLO, MIGRATE and ACL SETUSER in what is logged. */
void acl_redact(const struct command *c, struct slice *argv, size_t argc);
