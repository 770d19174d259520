// SPDX-License-Identifier: BSD-3-Clause
/* Places on the earth as numbers: 52 bits, latitude and longitude by turns, so that what is near is
 * mostly near as a number, too. A place is the score of a member of a sorted set. What lies within
 * a shape is looked for in at most nine cells. Distances are metres on a sphere, as Redis has it.
 * Pure. */
#pragma once

#include "common/base/obj.h"

#include <stdbool.h>

#define GEO_STEPS   26 /* bits of each coordinate */
#define GEO_LON_MAX 180.0
#define GEO_LAT_MAX 85.05112878

struct geo_point {
    double lon;
    double lat;
};

/* A cell: the first `steps` bits of each coordinate. steps 0: none. */
struct geo_cell {
    uint64_t bits;
    unsigned steps;
};

bool geo_point_valid(struct geo_point p);
uint64_t geo_encode(struct geo_point p);
/* The middle of the smallest cell. Any score is one: bits that are too many are cut off at the
 * edge of the world. */
struct geo_point geo_decode(double score);
/* As the rest of the world writes it: 11 letters and NUL. */
void geo_text(struct geo_point p, char to[12]);

double geo_distance(struct geo_point a, struct geo_point b);

/* A circle, or an upright box, around a point. In metres. */
struct geo_shape {
    struct geo_point at;
    bool box;
    double radius;
    double width;
    double height;
};
/* Whether a point lies within, and how far it is from the middle. */
bool geo_within(const struct geo_shape *s, struct geo_point p, double *distance);

#define GEO_CELLS 9
/* The cells that a shape can reach into, its own first; some may be none. */
void geo_cover(const struct geo_shape *s, struct geo_cell to[GEO_CELLS]);
/* Scores of a cell: from `low` to below `high`. */
void geo_cell_scores(struct geo_cell c, double *low, double *high);
