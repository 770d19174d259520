// SPDX-License-Identifier: BSD-3-Clause
/* The version of what nodes and coordinators say to each other. A node is refused unless its
 * version is the coordinator's: fields are told apart by position.
 *
 *   1  register, heartbeat, map and confirmation
 *   2  replication: primary terms and stale members in the map, REPORT, PROGRESS, ORDER; the node's
 *      password and durability in REGISTER, settings in WELCOME
 *   3  ASK and ANSWER: an operator talks to any node
 *   4  SETTINGS; the memory limit in HEARTBEAT
 *   5  in the map since when each member is one; HOLLOW
 *   6  primaries by guess in the map; WHOLE */
#pragma once

#define WIRE_VERSION 6
