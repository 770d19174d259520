// SPDX-License-Identifier: BSD-3-Clause
/* The CLIENT family as far as it is the same on proxy and node: arguments read, and the answers
 * that depend on no connection. `argv` is the whole request, its arity checked; who reads returns
 * false after writing an error. */
#pragma once

#include "common/resp/write.h"

/* Printable ASCII without spaces: names of connections and of libraries. */
bool client_name_ok(struct slice name);
/* CLIENT SETINFO, all of it; the names are replaced. */
void client_setinfo(const struct slice *argv, char **lib_name, char **lib_version,
                    struct resp_writer *w);
bool client_read_on_off(struct slice word, bool *on, struct resp_writer *w);

enum client_say { CLIENT_SAY_BAD, CLIENT_SAY_ON, CLIENT_SAY_OFF, CLIENT_SAY_SKIP };
/* CLIENT_SAY_BAD: an error was written. */
enum client_say client_read_reply(struct slice word, struct resp_writer *w);

bool client_read_pause(const struct slice *argv, size_t argc, bool *writes_only, int64_t *ms,
                       struct resp_writer *w);
bool client_read_unblock(const struct slice *argv, size_t argc, int64_t *id, struct resp_writer *w);

/* Tracking is always off in this version. */
void client_tracking(const struct slice *argv, size_t argc, struct resp_writer *w);
void client_caching(struct resp_writer *w);
void client_getredir(struct resp_writer *w);
void client_trackinginfo(struct resp_writer *w);

void client_help(struct resp_writer *w);
