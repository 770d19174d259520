// SPDX-License-Identifier: BSD-3-Clause
/* Joins node/script with the server: what a script may call now, who else is served while it takes
 * long. Owned by the server; the node's thread. */
#pragma once

struct server;

void scripting_init(struct server *s);
void scripting_fini(struct server *s);
void scripting_settings_changed(struct server *s);
