// SPDX-License-Identifier: BSD-3-Clause
/* The functions of handlers.def, cmd_get() and its like. Each writes exactly one reply. */
#pragma once

#include "node/cmd/call.h"

#define HANDLER(ID, name) void cmd_##name(struct call *c);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#include "node/cmd/handlers.def"
#pragma GCC diagnostic pop
#undef HANDLER
