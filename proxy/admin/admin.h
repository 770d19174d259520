// SPDX-License-Identifier: BSD-3-Clause
/* Commands that the proxy answers itself, one file a family. Handlers run in the worker of the
 * client that asked; see proxy/exec/local.h for what they may do. */
#pragma once

struct local_table;

/* Fills the table; called once by main.c before the workers start. */
void admin_fill(struct local_table *t);
