// SPDX-License-Identifier: BSD-3-Clause
/* Is a history of one key linearizable? The search is Wing and Gong's (1993) with Lowe's memory of
 * configurations already tried (2017), so that it is near linear in the histories that occur, and
 * with three shortcuts that lose nothing:
 *   - what changes nothing and fits the present state is taken at once;
 *   - of operations that nobody can tell apart only the one that began first is tried;
 *   - a key that is only appended to has one order, the one that its longest value shows.
 *
 * An operation whose outcome is unknown may have happened at any time after its call, or never; one
 * that was refused did not happen and is not given. Values are (hash, length), so a history is an
 * array of plain structs. Pure; not for hostile input. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum linear_kind {
    LINEAR_GET,    /* result: the value, or nil */
    LINEAR_SET,    /* value: what it sets */
    LINEAR_SETNX,  /* value; number: 1 it did, 0 the key was there */
    LINEAR_DEL,    /* number: 1 it did, 0 nothing there */
    LINEAR_APPEND, /* value: what it appends; number: length afterwards */
    LINEAR_INCR,   /* number: the result. On keys of numbers only */
};

struct linear_value {
    uint64_t hash; /* linear_hash of the bytes */
    uint32_t len;
    bool nil;
};

/* At the end of time: when an operation without a known outcome returns. */
#define LINEAR_NEVER INT64_MAX

struct linear_op {
    int64_t call;
    int64_t ret; /* > call; LINEAR_NEVER: outcome unknown, result not looked at */
    enum linear_kind kind;
    struct linear_value value; /* argument, or what a GET read */
    int64_t number;
    uint64_t tag; /* the caller's own */
};

/* The value of some bytes, and of one appended to another. */
struct linear_value linear_bytes(const void *ptr, size_t len);
struct linear_value linear_join(struct linear_value head, struct linear_value tail);
struct linear_value linear_nil(void);
struct linear_value linear_number(int64_t n); /* of its decimal text */

enum linear_verdict {
    LINEAR_OK,
    LINEAR_BROKEN,    /* no order explains it */
    LINEAR_UNDECIDED, /* more than `budget` steps */
};

struct linear_report {
    size_t stuck;   /* BROKEN: index of the operation that no order could explain where the
                       furthest search ended */
    uint64_t steps; /* taken */
};

/* `longest`: of a key that is only ever appended to, the longest value seen (all others should be
 * its beginnings); empty where the key is also set, or nothing was read. */
enum linear_verdict linear_check(const struct linear_op *ops, size_t n, const char *longest,
                                 size_t longest_len, uint64_t budget, struct linear_report *report);
const char *linear_kind_name(enum linear_kind k);
