// SPDX-License-Identifier: BSD-3-Clause
/* Numbers as Redis reads and prints them: strict, no spaces, no leading '+' or zeros. Pure. */
#pragma once

#include "common/base/obj.h"
#include "common/base/slice.h"

/* Exactly the forms of Redis's string2ll: "0", "-7", no "+1", "01", " 1", "". False: not such. */
bool num_parse_i64(struct slice s, int64_t *out) MUSTCHECK;
bool num_parse_u64(struct slice s, uint64_t *out) MUSTCHECK;
/* As Redis's string2ld: finite or inf, no NaN, no leading space, all bytes used. */
bool num_parse_longdouble(struct slice s, long double *out) MUSTCHECK;
bool num_parse_double(struct slice s, double *out) MUSTCHECK;
/* "100", "10mb", "1gb", "1k" as in redis.conf (k=1000, kb=1024). */
bool num_parse_memory(struct slice s, uint64_t *out) MUSTCHECK;

#define NUM_I64_MAX_LEN 21
#define NUM_LD_MAX_LEN  5120
/* Prints without NUL; returns the length. */
size_t num_print_i64(char *to, int64_t v);
size_t num_print_u64(char *to, uint64_t v);
/* INCRBYFLOAT's form: up to 17 digits behind the point, no exponent, trailing zeros cut.
 * `to` has NUM_LD_MAX_LEN bytes. */
size_t num_print_longdouble(char *to, long double v);
/* The form of ZSCORE and of RESP3 doubles: 17 significant digits (%.17g), "inf", "-inf", "nan".
 * 40 bytes are enough. */
size_t num_print_double(char *to, double v);
