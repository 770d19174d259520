// SPDX-License-Identifier: BSD-3-Clause
/* ACL LOG: what was refused to whom, newest first; the same refusal within a minute counts up.
 *
 * Owned by one thread; another may make an entry and send it. */
#pragma once

#include "common/cmd/acl.h"

struct acl_log;
struct acl_log_entry;

#define ACL_LOG_DEFAULT 128

struct acl_log *acl_log_new(void);
void acl_log_free(struct acl_log **l);
void acl_log_set_len_max(struct acl_log *l, int64_t entries);

/* `context`: "toplevel", "multi", "lua", "module"; constant text. `object`: the command, key or
 * channel. `client`: its line as CLIENT LIST shows it. All copied. */
struct acl_log_entry *acl_log_entry_new(int64_t wall_ms, enum acl_answer why, const char *context,
                                        struct slice object, struct slice user,
                                        struct slice client);
/* Takes the entry. */
void acl_log_push(struct acl_log *l, struct acl_log_entry *e);

/* ACL LOG, ACL LOG <count>, ACL LOG RESET. */
void acl_log_command(struct acl_log *l, const struct slice *argv, size_t argc, int64_t wall_ms,
                     struct resp_writer *w);
