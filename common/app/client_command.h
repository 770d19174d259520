// SPDX-License-Identifier: BSD-3-Clause
/* The CLIENT family as far as it is the same on proxy and node: arguments read, and the answers
 * that depend on no connection. `argv` is the whole request, its arity checked; who reads returns
 * false after writing an error. */
#pragma once

#include "common/base/slice.h"
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

/* CLIENT TRACKING ON | OFF and its options. */
enum client_tracking_flag {
    CLIENT_TRACKING_BCAST = 1 << 0,
    CLIENT_TRACKING_OPTIN = 1 << 1,
    CLIENT_TRACKING_OPTOUT = 1 << 2,
    CLIENT_TRACKING_NOLOOP = 1 << 3,
};
struct client_tracking {
    bool on;
    uint32_t flags;
    uint64_t redirect;      /* 0: to itself */
    struct slice *prefixes; /* owned; the bytes are the request's */
    size_t n_prefixes;
};
/* `exists`: whether there is a client of that number. False: an error was written. Either way _fini
 * afterwards. */
bool client_read_tracking(const struct slice *argv, size_t argc,
                          bool (*exists)(void *arg, uint64_t id), void *arg,
                          struct client_tracking *to, struct resp_writer *w);
void client_tracking_fini(struct client_tracking *t);
/* Whether to turn it on so goes together, and with `flags` where it is on already (`was`). */
bool client_tracking_fits(const struct client_tracking *t, bool was, uint32_t flags,
                          struct resp_writer *w);

/* For a connection that cannot track. */
void client_tracking(const struct slice *argv, size_t argc, struct resp_writer *w);
void client_caching(struct resp_writer *w);
void client_getredir(struct resp_writer *w);
void client_trackinginfo(struct resp_writer *w);

void client_help(struct resp_writer *w);
