// SPDX-License-Identifier: BSD-3-Clause
/* The version of what nodes and coordinators say to each other. A node is refused unless its
 * version is the coordinator's: fields are told apart by position.
 *
 *   1  register, heartbeat, map and confirmation */
#pragma once

#define WIRE_VERSION 1
