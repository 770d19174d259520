// SPDX-License-Identifier: BSD-3-Clause
/* Our version, and the version of Redis whose behaviour clients may count on. */
#pragma once

#define SHOAL_VERSION       "0.1.0"
#define SHOAL_REDIS_VERSION "7.0.15"
