// SPDX-License-Identifier: BSD-3-Clause
/* Handlers of everything that is not about keys: connection, server, cluster. One file a family.
 * The node's thread. */
#pragma once

struct call_table;

/* Fills in the handlers of this folder; those of node/cmd are there already. */
void admin_handlers(struct call_table *t);
