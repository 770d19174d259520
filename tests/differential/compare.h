// SPDX-License-Identifier: BSD-3-Clause
/* Whether two replies say the same. One thread. */
#pragma once

#include "tests/differential/grammar.h"

/* Each is one whole reply. */
bool replies_agree(enum mode mode, struct slice a, struct slice b);
