// SPDX-License-Identifier: BSD-3-Clause
/* What a service owes its system: the background, a pid file, telling systemd, enough descriptors.
 * Main thread, at start-up and shutdown. */
#pragma once

#include "common/base/err.h"

#include <stdbool.h>

/* Goes into the background: the caller goes on as the child, the parent exits 0. Before threads and
 * loops exist. */
bool daemon_detach(struct errmsg *err) MUSTCHECK;
/* systemd's Type=notify: "READY=1", "STOPPING=1", "STATUS=..."; nothing without NOTIFY_SOCKET. */
void daemon_notify(const char *state);
/* "" writes none. */
bool daemon_write_pidfile(const char *path, struct errmsg *err) MUSTCHECK;
void daemon_remove_pidfile(const char *path);
/* Raises the soft limit of open files to at least `wanted` as far as the hard one allows, tries to
 * raise that one too. Returns what may be opened now. */
uint64_t daemon_raise_files(uint64_t wanted);
/* How many of `wanted` clients there can be descriptors for, beside `spare` others; raises the
 * limit for them as above. */
int64_t daemon_clients_possible(int64_t wanted, int64_t spare);
