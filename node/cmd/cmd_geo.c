// SPDX-License-Identifier: BSD-3-Clause
/* Places: GEOADD, GEOPOS, GEODIST, GEOHASH. They are sorted sets whose scores are places. */
#include "node/cmd/cmd_geo.h"

#include "node/cmd/args.h"
#include "node/cmd/cmd_zset.h"
#include "node/cmd/handlers.h"
#include "node/cmd/record.h"

#include "common/base/mem.h"
#include "common/base/num.h"

#include <stdio.h>

/* ---- arguments ---- */

bool arg_point(struct call *c, size_t i, struct geo_point *out)
{
    if (!arg_double_or(c, i, &out->lon, ERR_NOT_FLOAT) ||
        !arg_double_or(c, i + 1, &out->lat, ERR_NOT_FLOAT)) {
        return false;
    }
    if (!geo_point_valid(*out)) {
        resp_errorf(&c->w, "ERR invalid longitude,latitude pair %f,%f", out->lon, out->lat);
        return false;
    }
    return true;
}

bool arg_unit(struct call *c, size_t i, double *metres)
{
    static const struct {
        const char *name;
        double metres;
    } units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
    for (size_t k = 0; k < ARRAY_LEN(units); k++) {
        if (arg_is(c, i, units[k].name)) {
            *metres = units[k].metres;
            return true;
        }
    }
    resp_error(&c->w, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

/* ---- answers ---- */

static void reply_coordinate(struct call *c, double v)
{
    char text[NUM_LD_MAX_LEN + 3];
    size_t n = num_print_longdouble(text + 1, (long double)v);
    if (c->w.proto == 2) {
        resp_bulk(&c->w, slice_of(text + 1, n));
        return;
    }
    text[0] = ',';
    memcpy(text + 1 + n, "\r\n", 2);
    outbuf_append(c->w.out, text, n + 3);
}

void reply_point(struct call *c, struct geo_point p)
{
    resp_array(&c->w, 2);
    reply_coordinate(c, p.lon);
    reply_coordinate(c, p.lat);
}

void reply_distance(struct call *c, double v)
{
    char text[400];
    resp_bulk(&c->w, slice_of(text, (size_t)snprintf(text, sizeof(text), "%.4f", v)));
}

/* ---- GEOADD ---- */

static bool read_places(struct call *c, size_t first, size_t n, double *scores)
{
    for (size_t i = 0; i < n; i++) {
        struct geo_point p;
        if (!arg_point(c, first + 3 * i, &p)) {
            return false;
        }
        scores[i] = (double)geo_encode(p);
    }
    return true;
}

/* Those who follow need not do the same arithmetic. */
static void say_places(struct call *c, size_t first, size_t n, const double *scores)
{
    if (!record_followed(c) || !record_changed(c)) {
        return;
    }
    struct slice *words = mem_alloc((first + 2 * n) * sizeof(*words));
    char(*texts)[NUM_I64_MAX_LEN] = mem_alloc(n * sizeof(*texts));
    memcpy(words, c->argv, first * sizeof(*words));
    words[0] = SLICE("ZADD");
    for (size_t i = 0; i < n; i++) {
        words[first + 2 * i] = slice_of(texts[i], num_print_i64(texts[i], (int64_t)scores[i]));
        words[first + 2 * i + 1] = c->argv[first + 3 * i + 2];
    }
    record_say_feed(c, words, first + 2 * n);
    mem_free(texts);
    mem_free(words);
}

void cmd_geoadd(struct call *c)
{
    struct zset_adding a = {.step = 3, .member = 2};
    size_t i = 2;
    for (; i < c->argc; i++) {
        if (arg_is(c, i, "NX")) {
            a.flags |= ZSET_NX;
        } else if (arg_is(c, i, "XX")) {
            a.flags |= ZSET_XX;
        } else if (arg_is(c, i, "CH")) {
            a.changed = true;
        } else {
            break;
        }
    }
    a.first = i;
    a.n = (c->argc - i) / 3;
    if (a.n == 0 || (c->argc - i) % 3 != 0 || a.flags == (ZSET_NX | ZSET_XX)) {
        arg_syntax_error(c);
        return;
    }
    double *scores = mem_alloc(a.n * sizeof(*scores));
    if (read_places(c, i, a.n, scores)) {
        zset_add_all(c, &a, scores);
        say_places(c, i, a.n, scores);
    }
    mem_free(scores);
}

/* ---- asking ---- */

void cmd_geopos(struct call *c)
{
    struct object *o;
    if (!read_zset(c, 1, &o)) {
        return;
    }
    resp_array(&c->w, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        double score;
        if (o != NULL && zset_score(o, c->argv[i], &score)) {
            reply_point(c, geo_decode(score));
        } else {
            resp_nil_array(&c->w);
        }
    }
}

void cmd_geohash(struct call *c)
{
    struct object *o;
    if (!read_zset(c, 1, &o)) {
        return;
    }
    resp_array(&c->w, c->argc - 2);
    for (size_t i = 2; i < c->argc; i++) {
        double score;
        if (o != NULL && zset_score(o, c->argv[i], &score)) {
            char text[12];
            geo_text(geo_decode(score), text);
            resp_bulkz(&c->w, text);
        } else {
            resp_nil(&c->w);
        }
    }
}

void cmd_geodist(struct call *c)
{
    struct object *o;
    double metres = 1;
    double a;
    double b;
    if (c->argc > 5) {
        arg_syntax_error(c);
        return;
    }
    if ((c->argc == 5 && !arg_unit(c, 4, &metres)) || !read_zset(c, 1, &o)) {
        return;
    }
    if (o != NULL && zset_score(o, c->argv[2], &a) && zset_score(o, c->argv[3], &b)) {
        reply_distance(c, geo_distance(geo_decode(a), geo_decode(b)) / metres);
    } else {
        resp_nil(&c->w);
    }
}
