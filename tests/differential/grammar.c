// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/grammar.h"

#include "common/base/mem.h"
#include "common/base/num.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum {
    TAGS = 8,        /* slots, when keys are spread */
    REPEAT_MAX = 3,  /* of { } */
    OPTION_OF_8 = 3, /* how often [ ] is there */
    OTHER_OF_64 = 4, /* how often a key is one of another kind */
    SPOIL_OF_64 = 2, /* how often a command is spoilt */
};

/* A piece of a line. */
struct part {
    enum { WORD, ANY, ONE_OF, PERHAPS, REPEATED, SEQUENCE } kind;
    struct slice text; /* WORD, and the name of ANY */
    struct part *first;
    struct part *next;
};

struct line {
    enum mode mode;
    bool unspoilt;
    unsigned weight;
    struct part *command;
};

struct grammar {
    char *text;
    struct line *lines;
    size_t n;
    uint64_t weights;
    struct line *questions;
    size_t n_questions;
    bool spread;
    size_t tag;      /* of the command under way */
    int64_t now_ms;  /* for times that must not pass meanwhile */
    struct str made; /* bytes of the words that are made up */
};

/* ---- reading ---- */

struct reader {
    struct slice rest;
    const char *error;
};

static struct slice next_word(struct reader *r)
{
    while (r->rest.len > 0 && r->rest.ptr[0] == ' ') {
        r->rest = slice_of(r->rest.ptr + 1, r->rest.len - 1);
    }
    size_t n = 0;
    while (n < r->rest.len && r->rest.ptr[n] != ' ') {
        n++;
    }
    struct slice word = slice_of(r->rest.ptr, n);
    r->rest = slice_of(r->rest.ptr + n, r->rest.len - n);
    return word;
}

static struct part *part_new(int kind, struct slice text)
{
    struct part *p = mem_zalloc(sizeof(*p));
    p->kind = (__typeof__(p->kind))kind;
    p->text = text;
    return p;
}

static void part_free(struct part *p)
{
    while (p != NULL) {
        struct part *next = p->next;
        part_free(p->first);
        mem_free(p);
        p = next;
    }
}

/* Up to the closing word, "" being the line's end. `|` begins another SEQUENCE of a ONE_OF. */
static struct part *read_parts(struct reader *r, const char *closing)
{
    struct part *all = part_new(SEQUENCE, SLICE(""));
    struct part *now = all;
    struct part **end = &now->first;
    for (;;) {
        struct slice word = next_word(r);
        if (slice_is(word, closing)) {
            return all;
        }
        if (word.len == 0) {
            r->error = "a bracket is not closed";
            return all;
        }
        struct part *p;
        if (slice_is(word, "|")) {
            now->next = part_new(SEQUENCE, SLICE(""));
            now = now->next;
            end = &now->first;
            continue;
        }
        if (slice_is(word, "(")) {
            p = part_new(ONE_OF, word);
            p->first = read_parts(r, ")");
        } else if (slice_is(word, "[")) {
            p = part_new(PERHAPS, word);
            p->first = read_parts(r, "]");
        } else if (slice_is(word, "{")) {
            p = part_new(REPEATED, word);
            p->first = read_parts(r, "}");
        } else {
            bool any = word.ptr[0] == '$' && word.len > 1;
            p = part_new(any ? ANY : WORD, any ? slice_of(word.ptr + 1, word.len - 1)
                                               : (slice_is(word, "''") ? SLICE("") : word));
        }
        *end = p;
        end = &p->next;
    }
}

static bool read_mode(struct slice word, enum mode *out)
{
    static const char letters[] = "=~%#?c";
    const char *at = word.len > 0 ? memchr(letters, word.ptr[0], sizeof(letters) - 1) : NULL;
    *out = at == NULL ? MODE_SAME : (enum mode)(at - letters);
    return at != NULL && (word.len == 1 || (word.len == 2 && word.ptr[1] == '!'));
}

static void add_line(struct grammar *g, struct reader *r)
{
    struct slice head = next_word(r);
    if (head.len == 0 || head.ptr[0] == ';') {
        return;
    }
    bool question = slice_is(head, "@");
    struct line **lines = question ? &g->questions : &g->lines;
    size_t *n = question ? &g->n_questions : &g->n;
    uint64_t weight = 1;
    struct line l = {0};
    bool number = question || num_parse_u64(head, &weight);
    struct slice mode = next_word(r);
    if (!number || !read_mode(mode, &l.mode)) {
        r->error = "a line is `weight mode command...`";
        return;
    }
    l.unspoilt = mode.len == 2;
    l.weight = (unsigned)weight;
    l.command = read_parts(r, "");
    *lines = mem_realloc(*lines, (*n + 1) * sizeof(**lines));
    (*lines)[(*n)++] = l;
    g->weights += question ? 0 : l.weight;
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return NULL;
    }
    struct str text = {0};
    char buffer[4096];
    size_t n;
    while ((n = fread(buffer, 1, sizeof(buffer), f)) > 0) {
        str_append(&text, buffer, n);
    }
    fclose(f);
    return str_steal(&text);
}

struct grammar *grammar_read(const char *path, bool spread, struct str *error)
{
    char *text = read_file(path);
    if (text == NULL) {
        str_printf(error, "%s: %s", path, strerror(errno));
        return NULL;
    }
    struct grammar *g = mem_zalloc(sizeof(*g));
    g->text = text;
    g->spread = spread;
    g->now_ms = (int64_t)time(NULL) * 1000;
    int number = 0;
    for (char *at = text; *at != '\0' && error->len == 0;) {
        char *end = strchrnul(at, '\n');
        struct reader r = {.rest = slice_of(at, (size_t)(end - at))};
        number++;
        add_line(g, &r);
        if (r.error != NULL) {
            str_printf(error, "%s:%d: %s", path, number, r.error);
        }
        at = *end == '\0' ? end : end + 1;
    }
    if (error->len > 0 || g->weights == 0) {
        grammar_free(&g);
    }
    return g;
}

static void lines_free(struct line *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        part_free(lines[i].command);
    }
    mem_free(lines);
}

void grammar_free(struct grammar **gp)
{
    struct grammar *g = *gp;
    if (g != NULL) {
        lines_free(g->lines, g->n);
        lines_free(g->questions, g->n_questions);
        str_fini(&g->made);
        mem_free(g->text);
        mem_free(g);
        *gp = NULL;
    }
}

/* Whether a command may begin with this word. */
static bool may_begin(const struct part *p, const char *name)
{
    if (p == NULL || p->kind == WORD) {
        return p != NULL && slice_is(p->text, name);
    }
    for (const struct part *one = p->first; p->kind == ONE_OF && one != NULL; one = one->next) {
        if (may_begin(one->first, name)) {
            return true;
        }
    }
    return false;
}

void grammar_leave_out(struct grammar *g, const char *name)
{
    for (size_t i = 0; i < g->n; i++) {
        if (may_begin(g->lines[i].command->first, name)) {
            g->weights -= g->lines[i].weight;
            g->lines[i].weight = 0;
        }
    }
    INVARIANT(g->weights > 0);
    size_t left = 0;
    for (size_t i = 0; i < g->n_questions; i++) {
        if (may_begin(g->questions[i].command->first, name)) {
            part_free(g->questions[i].command);
        } else {
            g->questions[left++] = g->questions[i];
        }
    }
    g->n_questions = left;
}

/* ---- making ---- */

static const char *const kinds[] = {"str", "list", "set", "zset", "hash", "stream", "hll", "geo",
                                    /* what other commands must not write to */
                                    "even",    /* sorted sets of equal scores: else commands by name
                                                  mean nothing */
                                    "sorted"}; /* lists for SORT */
enum { ALONE = 8 };                            /* the first of the latter */

static size_t pick(struct rng *rng, size_t n)
{
    return (size_t)rng_below(rng, n);
}

static const char *pick_text(struct rng *rng, const char *const *of, size_t n)
{
    return of[pick(rng, n)];
}
#define PICK(rng, ...)                                                                             \
    pick_text(rng, (const char *const[]){__VA_ARGS__},                                             \
              ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static void make_key(struct grammar *g, size_t kind, size_t i, size_t tag, struct str *to)
{
    str_printf(to, "%s%zu", kinds[kind], i);
    if (g->spread) {
        str_printf(to, "{%zu}", tag);
    }
}

/* Keys of the kind that the name says, now and then of another. */
static void any_key(struct grammar *g, struct rng *rng, size_t kind, struct str *to)
{
    if (kind < ALONE && pick(rng, 64) < OTHER_OF_64) {
        kind = pick(rng, ALONE);
    }
    make_key(g, kind, pick(rng, KEYS_EACH), g->tag, to);
}

static void any_integer(struct rng *rng, struct str *to)
{
    if (pick(rng, 4) > 0) {
        str_append_int(to, (long long)pick(rng, 40) - 15);
    } else {
        str_appendz(to, PICK(rng, "0", "-1", "100", "-100", "9223372036854775807",
                             "-9223372036854775808", "9223372036854775808", "4294967296",
                             "2147483648", "1.5", "abc", "''", " 1", "+1", "01", "-0", "0x10"));
    }
}

static void any_float(struct rng *rng, struct str *to)
{
    if (pick(rng, 3) > 0) {
        str_printf(to, "%g", ((double)pick(rng, 400) - 150) / 8);
    } else {
        str_appendz(to, PICK(rng, "0", "-0", "1", "1e3", "1.5e-7", "3.14159265358979", "inf",
                             "-inf", "+inf", "nan", "1e308", "-1e308", "abc", "1.", ".5", "0x1p3",
                             "99999999999999999", "0.1", "1e5000"));
    }
}

/* No option is made of these letters: Redis takes a word for one by what is before its first NUL.
 */
static void any_bytes(struct rng *rng, size_t len, struct str *to)
{
    static const char few[] = "abdefgh\0\xff\x80\x01 \r\n\"";
    for (size_t i = 0; i < len; i++) {
        str_append_char(to, few[pick(rng, sizeof(few) - 1)]);
    }
}

static void any_value(struct rng *rng, struct str *to)
{
    size_t how = pick(rng, 20);
    if (how < 6) {
        any_integer(rng, to);
    } else if (how < 8) {
        any_float(rng, to);
    } else if (how < 19) {
        any_bytes(rng, pick(rng, pick(rng, 8) == 0 ? 140 : 20), to);
    } else {
        static const size_t lengths[] = {44, 45, 63, 64, 65, 128, 255, 300, 2047, 2048, 5000, 9000};
        size_t len = lengths[pick(rng, ARRAY_LEN(lengths))];
        char c = (char)('a' + pick(rng, 26));
        memset(str_reserve(to, len), c, len);
        to->len += len;
        to->ptr[to->len] = '\0';
    }
}

/* Members and fields are few, so that they meet; sometimes many, so that encodings change. */
static void any_member(struct rng *rng, struct str *to)
{
    size_t how = pick(rng, 16);
    if (how < 8) {
        str_printf(to, "m%zu", pick(rng, 12));
    } else if (how < 12) {
        str_append_int(to, (long long)pick(rng, 30) - 10);
    } else if (how < 14) {
        str_printf(to, "member:%zu", pick(rng, 600));
    } else {
        any_value(rng, to);
    }
}

static void any_id(struct rng *rng, struct str *to)
{
    size_t how = pick(rng, 12);
    if (how < 7) {
        str_printf(to, "%zu-%zu", pick(rng, 40), pick(rng, 5));
    } else if (how < 9) {
        str_printf(to, "%zu", pick(rng, 40));
    } else {
        str_appendz(to, PICK(rng, "-", "+", "0-0", "0", "18446744073709551615-18446744073709551615",
                             "18446744073709551615", "(5", "(5-1", "abc", "5-", "-5", "5-*",
                             "99999999999999999999"));
    }
}

static void make(struct grammar *g, struct rng *rng, struct slice name, struct str *to)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (slice_is(name, kinds[i])) {
            any_key(g, rng, i, to);
            return;
        }
    }
    if (slice_is(name, "any")) {
        any_key(g, rng, pick(rng, ALONE), to);
    } else if (slice_is(name, "int")) {
        any_integer(rng, to);
    } else if (slice_is(name, "n")) { /* a count */
        str_append_int(to, pick(rng, 12) > 0 ? (long long)pick(rng, 6)
                                             : (long long)pick(rng, 2000) - 400);
    } else if (slice_is(name, "at")) { /* a place */
        str_append_int(to, (long long)pick(rng, 16) - 8);
    } else if (slice_is(name, "bit")) {
        str_append_int(to,
                       pick(rng, 8) > 0 ? (long long)pick(rng, 300) : (long long)pick(rng, 40000));
    } else if (slice_is(name, "float")) {
        any_float(rng, to);
    } else if (slice_is(name, "value")) {
        any_value(rng, to);
    } else if (slice_is(name, "member")) {
        any_member(rng, to);
    } else if (slice_is(name, "id")) {
        any_id(rng, to);
    } else if (slice_is(name, "new")) { /* an id that is most often above the last */
        str_printf(to, "%lld-%zu", (long long)pick(rng, 60), pick(rng, 9));
    } else if (slice_is(name, "lex")) {
        str_appendz(to,
                    PICK(rng, "-", "+", "[m1", "(m1", "[m5", "(m9", "[", "(", "[z", "m1", "[1"));
    } else if (slice_is(name, "score")) {
        if (pick(rng, 4) == 0) {
            str_append_char(to, '(');
        }
        any_float(rng, to);
    } else if (slice_is(name, "glob")) {
        str_appendz(to, PICK(rng, "*", "m*", "?1", "m[0-5]", "*e*", "[^m]*", "m\\1", "nothing"));
    } else if (slice_is(name, "later")) { /* milliseconds */
        str_append_int(to, g->now_ms + 10000000LL * (1 + (long long)pick(rng, 900)));
    } else if (slice_is(name, "later_s")) {
        str_append_int(to, g->now_ms / 1000 + 10000LL * (1 + (long long)pick(rng, 900)));
    } else if (slice_is(name, "lon")) {
        str_printf(to, "%.4f", ((double)pick(rng, 36400) - 18200) / 101);
    } else if (slice_is(name, "lat")) {
        str_printf(to, "%.4f", ((double)pick(rng, 17200) - 8600) / 100.3);
    } else if (slice_is(name, "junk")) {
        any_bytes(rng, pick(rng, 10), to);
    } else {
        str_append_char(to, '$');
        str_append_slice(to, name); /* a dollar is a dollar */
    }
}

/* Words are offsets into g->made while it still grows. */
struct making {
    struct grammar *g;
    struct rng *rng;
    size_t n;
    size_t from[WORDS_MAX + 1];
};

static void begin_word(struct making *m)
{
    m->from[m->n++] = m->g->made.len;
}

static void make_parts(struct making *m, const struct part *p);

static void make_part(struct making *m, const struct part *p)
{
    if (m->n == WORDS_MAX) {
        return;
    }
    size_t times;
    const struct part *one;
    switch (p->kind) {
    case WORD:
        begin_word(m);
        str_append_slice(&m->g->made, p->text);
        break;
    case ANY:
        begin_word(m);
        make(m->g, m->rng, p->text, &m->g->made);
        break;
    case ONE_OF:
        INVARIANT(p->first != NULL);
        times = 1;
        for (one = p->first; one->next != NULL; one = one->next) {
            times++;
        }
        one = p->first;
        for (size_t i = pick(m->rng, times); i > 0 && one->next != NULL; i--) {
            one = one->next;
        }
        make_parts(m, one->first);
        break;
    case PERHAPS:
        if (pick(m->rng, 8) < OPTION_OF_8) {
            make_parts(m, p->first->first);
        }
        break;
    case REPEATED:
        times = 1 + pick(m->rng, REPEAT_MAX);
        for (size_t i = 0; i < times; i++) {
            make_parts(m, p->first->first);
        }
        break;
    case SEQUENCE:
    default:
        make_parts(m, p->first);
        break;
    }
}

static void make_parts(struct making *m, const struct part *p)
{
    for (; p != NULL; p = p->next) {
        make_part(m, p);
    }
}

static void finish(struct making *m, struct saying *out)
{
    m->from[m->n] = m->g->made.len;
    out->n = m->n;
    for (size_t i = 0; i < m->n; i++) {
        out->words[i] = slice_of(m->g->made.ptr + m->from[i], m->from[i + 1] - m->from[i]);
        if (slice_is(out->words[i], "''")) {
            out->words[i].len = 0;
        }
    }
}

/* A word too many, one too few, or a wrong one: not the first, and no key of another slot. */
static void spoil(struct rng *rng, struct saying *s)
{
    if (s->n < 3) {
        return;
    }
    size_t at = 2 + pick(rng, s->n - 2);
    switch (pick(rng, 3)) {
    case 0:
        s->n--;
        break;
    case 1:
        s->words[at] = s->words[1 + pick(rng, s->n - 1)];
        break;
    default:
        if (s->n < WORDS_MAX) {
            s->words[s->n] = s->words[at];
            s->n++;
        }
        break;
    }
}

void grammar_say(struct grammar *g, struct rng *rng, struct saying *out)
{
    uint64_t at = rng_below(rng, g->weights);
    const struct line *l = g->lines;
    while (at >= l->weight) {
        at -= l->weight;
        l++;
    }
    g->tag = pick(rng, TAGS);
    str_clear(&g->made);
    struct making m = {.g = g, .rng = rng};
    make_parts(&m, l->command->first);
    finish(&m, out);
    out->mode = l->mode;
    if (pick(rng, 64) < SPOIL_OF_64 && !l->unspoilt && !g->spread) {
        spoil(rng, out);
    }
}

size_t grammar_keys(const struct grammar *g)
{
    return ARRAY_LEN(kinds) * KEYS_EACH * (g->spread ? TAGS : 1);
}

size_t grammar_questions(const struct grammar *g)
{
    return g->n_questions;
}

void grammar_ask(struct grammar *g, size_t key, size_t question, struct saying *out)
{
    const struct line *l = &g->questions[question];
    struct making m = {.g = g};
    str_clear(&g->made);
    for (const struct part *p = l->command->first; p != NULL; p = p->next) {
        begin_word(&m);
        if (p->kind == ANY) {
            make_key(g, key % ARRAY_LEN(kinds), key / ARRAY_LEN(kinds) % KEYS_EACH,
                     key / ARRAY_LEN(kinds) / KEYS_EACH, &g->made);
        } else {
            str_append_slice(&g->made, p->text);
        }
    }
    finish(&m, out);
    out->mode = l->mode;
}
