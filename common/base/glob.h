// SPDX-License-Identifier: BSD-3-Clause
/* Redis's glob patterns (*, ?, [a-z], [^a], \x), linear in practice: bounded backtracking, no
 * recursion per '*' beyond the last one. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

bool glob_match(struct slice pattern, struct slice text, bool fold_case);
