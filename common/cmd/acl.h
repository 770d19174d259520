// SPDX-License-Identifier: BSD-3-Clause
/* Users, and what each may do: commands, keys and channels, by the rules of Redis 7.0.
 *
 * A user is made, changed by rules while only one knows it, put into a set, and never changed
 * again: a set is immutable and counted, so that every thread may hold one. A change makes a new
 * user (a copy) and a new set. Of passwords only SHA-256 is kept.
 *
 *   rules: on off nopass >password <password #hash !hash resetpass sanitize-payload
 *     skip-sanitize-payload reset (selector) clearselectors
 *   of a selector, or of the user itself, which is the first of its selectors:
 *     +command -command +container|sub +@category -@category allcommands nocommands
 *     ~pattern %R~pattern %W~pattern allkeys resetkeys &pattern allchannels resetchannels
 *
 * A command may be run when one selector allows all of it. Pure; the counts are atomic. */
#pragma once

#include "common/base/str.h"
#include "common/cmd/keys.h"
#include "common/resp/write.h"

struct acl_user;
struct acl_users;

#define ACL_DEFAULT "default"

/* --- one user --- */

/* Off, and may do nothing; all channels if `open_channels` (acl-pubsub-default). The caller's. */
struct acl_user *acl_user_new(struct slice name, bool open_channels);
/* On, without a password, everything allowed: the default user of a server without settings. */
struct acl_user *acl_user_open(struct slice name);
/* Another one to change. */
struct acl_user *acl_user_copy(const struct acl_user *u);
/* Lets go of it; it is freed with the last who has it. */
void acl_user_free(struct acl_user **u);
struct acl_user *acl_user_ref(const struct acl_user *u);
bool acl_name_ok(struct slice name);

/* Applies rules in their order; words of a selector in parentheses may be several. False with the
 * error's text as ACL SETUSER answers it behind "ERR "; the user is then half changed. */
bool acl_user_apply(struct acl_user *u, const struct slice *rules, size_t n, bool open_channels,
                    struct str *error) MUSTCHECK;
/* One rule, a selector being one. NULL or what is wrong with it. */
const char *acl_user_rule(struct acl_user *u, struct slice rule, bool open_channels);
/* What requirepass means: this one password; empty: none is asked for. */
void acl_user_set_password(struct acl_user *u, struct slice password);

struct slice acl_user_name(const struct acl_user *u);
bool acl_user_on(const struct acl_user *u);
bool acl_user_nopass(const struct acl_user *u);
/* Any command, key and channel: nothing needs to be checked. */
bool acl_user_unrestricted(const struct acl_user *u);
/* It is on, and this is one of its passwords, or it needs none. Time does not tell how much of a
 * guess was right. */
bool acl_user_accepts(const struct acl_user *u, struct slice password);

/* --- printing --- */

/* As in ACL LIST and ACL files, without "user ": "alice on #... ~* &* +@all". */
void acl_user_print(const struct acl_user *u, struct str *to);
/* The answer to ACL GETUSER. */
void acl_user_reply(const struct acl_user *u, struct resp_writer *w);

/* --- a set of users --- */

/* Only the default user, which may do everything. */
struct acl_users *acl_users_new(void);
struct acl_users *acl_users_ref(struct acl_users *s);
void acl_users_unref(struct acl_users **s);
/* With this user, in the place of one of its name; takes `u`. */
struct acl_users *acl_users_with(const struct acl_users *s, struct acl_user *u);
/* Without the one of this name. */
struct acl_users *acl_users_without(const struct acl_users *s, struct slice name);
/* In the order of their names. */
size_t acl_users_count(const struct acl_users *s);
const struct acl_user *acl_users_at(const struct acl_users *s, size_t i);
/* NULL: nobody of that name. */
const struct acl_user *acl_users_find(const struct acl_users *s, struct slice name);
const struct acl_user *acl_users_default(const struct acl_users *s);

/* --- what a user may do --- */

enum acl_answer {
    ACL_YES,
    ACL_NOT_COMMAND,
    ACL_NOT_KEY,
    ACL_NOT_AUTH, /* a wrong password; for the log only */
    ACL_NOT_CHANNEL,
    ACL_NOT_BY, /* SORT BY, SORT GET: they read keys that have no name in the command */
    ACL_NOT_GET,
};

/* Whether `u` may run the command; its arity fits. `keys` is room for the work. *at: the argument
 * that it may not use (0: the command itself). */
enum acl_answer acl_check(const struct acl_user *u, const struct command *c,
                          const struct slice *argv, size_t argc, struct key_list *keys, size_t *at);
/* Whether it may listen to this channel, or, if `pattern`, to this pattern. */
bool acl_channel_ok(const struct acl_user *u, struct slice channel, bool pattern);

/* The error that a client gets, with its code. */
void acl_error(enum acl_answer a, const struct command *c, struct str *to);
/* What a script gets: "The user executing the script can't ...", behind "ERR ". */
const char *acl_script_error(enum acl_answer a);
/* What EXEC gets for a command that was allowed when it was queued. */
const char *acl_exec_error(enum acl_answer a);
/* The answer of ACL DRYRUN. `word` is argv[at]. */
void acl_dryrun_text(enum acl_answer a, const struct command *c, struct slice word, struct str *to);
/* "command", "key", "channel", "auth": as ACL LOG calls it. */
const char *acl_answer_name(enum acl_answer a);
