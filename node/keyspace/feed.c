// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/feed.h"

#include "common/base/num.h"

#define KEEP_MAX (64U << 10) /* a larger buffer is given back */

void feed_init(struct feed *f, void (*sink)(void *arg, struct slice bytes), void *arg)
{
    *f = (struct feed){.sink = sink, .arg = arg, .db = -1, .apart = true};
}

void feed_fini(struct feed *f)
{
    str_fini(&f->ops);
}

static void put_number(struct str *to, char mark, size_t n)
{
    char digits[NUM_I64_MAX_LEN];
    str_append_char(to, mark);
    str_append(to, digits, num_print_u64(digits, n));
    str_append(to, "\r\n", 2);
}

void feed_words(struct str *to, const struct slice *words, size_t n)
{
    put_number(to, '*', n);
    for (size_t i = 0; i < n; i++) {
        put_number(to, '$', words[i].len);
        str_append(to, words[i].ptr, words[i].len);
        str_append(to, "\r\n", 2);
    }
}

static void put_select(struct str *to, int db)
{
    char digits[NUM_I64_MAX_LEN];
    struct slice words[2] = {SLICE("SELECT"), slice_of(digits, num_print_i64(digits, db))};
    feed_words(to, words, 2);
}

void feed_put(struct feed *f, int db, const struct slice *words, size_t n)
{
    if (f->n == 0) {
        f->first_db = db;
    } else if (db != f->last_db) {
        put_select(&f->ops, db);
    }
    feed_words(&f->ops, words, n);
    f->last_db = db;
    f->n++;
}

static void give(struct feed *f, struct slice bytes)
{
    f->sink(f->arg, bytes);
}

static void give_word(struct feed *f, struct slice word)
{
    struct str text = {0};
    feed_words(&text, &word, 1);
    give(f, str_slice(&text));
    str_fini(&text);
}

void feed_close(struct feed *f)
{
    bool whole = f->n > 1 && !f->apart;
    f->apart = true;
    if (f->n == 0) {
        return;
    }
    if (f->first_db != f->db) {
        struct str text = {0};
        put_select(&text, f->first_db);
        give(f, str_slice(&text));
        str_fini(&text);
    }
    if (whole) {
        give_word(f, SLICE("MULTI"));
    }
    give(f, str_slice(&f->ops));
    if (whole) {
        give_word(f, SLICE("EXEC"));
    }
    f->db = f->last_db;
    feed_drop(f);
}

void feed_drop(struct feed *f)
{
    f->n = 0;
    if (f->ops.cap > KEEP_MAX) {
        str_fini(&f->ops);
    } else {
        str_clear(&f->ops);
    }
}
