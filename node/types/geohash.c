// SPDX-License-Identifier: BSD-3-Clause
#include "node/types/geohash.h"

#include <math.h>

#define EARTH_RADIUS_M 6372797.560856
#define MERCATOR_MAX   20037726.37 /* half around the equator, in metres */

/* Latitudes are the even bits, from the lowest. */
#define LAT_BITS UINT64_C(0x5555555555555555)
#define LON_BITS UINT64_C(0xaaaaaaaaaaaaaaaa)

struct span {
    double min;
    double max;
};

struct area {
    struct span lon;
    struct span lat;
};

static const struct span all_lon = {-GEO_LON_MAX, GEO_LON_MAX};
static const struct span all_lat = {-GEO_LAT_MAX, GEO_LAT_MAX};

static inline double radians(double degrees)
{
    return degrees * (M_PI / 180.0);
}

static inline double degrees(double radians_)
{
    return radians_ / (M_PI / 180.0);
}

/* ---- bits ---- */

/* Every bit gets a zero above it. */
static uint64_t spread(uint32_t v)
{
    uint64_t x = v;
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x << 2) & UINT64_C(0x3333333333333333);
    return (x | x << 1) & LAT_BITS;
}

/* The other way round: every second bit, from the lowest. */
static uint32_t gather(uint64_t x)
{
    x &= LAT_BITS;
    x = (x | x >> 1) & UINT64_C(0x3333333333333333);
    x = (x | x >> 2) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(x | x >> 16);
}

static double share(struct span all, double v, unsigned steps)
{
    return (v - all.min) / (all.max - all.min) * (double)(UINT64_C(1) << steps);
}

static uint64_t encode(struct span lon, struct span lat, struct geo_point p, unsigned steps)
{
    return spread((uint32_t)share(lat, p.lat, steps)) | spread((uint32_t)share(lon, p.lon, steps))
                                                            << 1;
}

static struct span decode_span(struct span all, uint32_t v, unsigned steps)
{
    double width = all.max - all.min;
    double parts = (double)(UINT64_C(1) << steps);
    return (struct span){.min = all.min + (v * 1.0 / parts) * width,
                         .max = all.min + ((v + 1) * 1.0 / parts) * width};
}

static struct area decode(struct geo_cell c)
{
    return (struct area){.lat = decode_span(all_lat, gather(c.bits), c.steps),
                         .lon = decode_span(all_lon, gather(c.bits >> 1), c.steps)};
}

static struct geo_cell cell_at(struct geo_point p, unsigned steps)
{
    return (struct geo_cell){.bits = encode(all_lon, all_lat, p, steps), .steps = steps};
}

/* ---- points ---- */

bool geo_point_valid(struct geo_point p)
{
    return p.lon >= -GEO_LON_MAX && p.lon <= GEO_LON_MAX && p.lat >= -GEO_LAT_MAX &&
           p.lat <= GEO_LAT_MAX;
}

uint64_t geo_encode(struct geo_point p)
{
    return encode(all_lon, all_lat, p, GEO_STEPS);
}

/* Also of what is no place at all: where C leaves it open, as x86 does it. */
static uint64_t bits_of(double score)
{
    if (score < 0x1p63) {
        return score > -0x1p63 ? (uint64_t)(int64_t)score : UINT64_C(1) << 63;
    }
    return score < 0x1p64 ? (uint64_t)score : 0;
}

static double middle(struct span s, double limit)
{
    double v = (s.min + s.max) / 2;
    return v > limit ? limit : v < -limit ? -limit : v;
}

struct geo_point geo_decode(double score)
{
    struct area a = decode((struct geo_cell){.bits = bits_of(score), .steps = GEO_STEPS});
    return (struct geo_point){.lon = middle(a.lon, GEO_LON_MAX), .lat = middle(a.lat, GEO_LAT_MAX)};
}

void geo_text(struct geo_point p, char to[12])
{
    static const char letters[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    const struct span lat = {-90, 90}; /* other than ours */
    uint64_t bits = encode(all_lon, lat, p, GEO_STEPS);
    for (unsigned i = 0; i < 10; i++) {
        to[i] = letters[bits >> (2 * GEO_STEPS - (i + 1) * 5) & 0x1f];
    }
    to[10] = '0'; /* 52 bits are not enough for it */
    to[11] = '\0';
}

/* ---- distances ---- */

static double lat_distance(double a, double b)
{
    return EARTH_RADIUS_M * fabs(radians(b) - radians(a));
}

double geo_distance(struct geo_point a, struct geo_point b)
{
    double v = sin((radians(b.lon) - radians(a.lon)) / 2);
    if (v == 0) {
        return lat_distance(a.lat, b.lat);
    }
    double lat_a = radians(a.lat);
    double lat_b = radians(b.lat);
    double u = sin((lat_b - lat_a) / 2);
    double h = u * u + cos(lat_a) * cos(lat_b) * v * v;
    return 2.0 * EARTH_RADIUS_M * asin(sqrt(h));
}

bool geo_within(const struct geo_shape *s, struct geo_point p, double *distance)
{
    if (s->box) {
        /* Along the point's own latitude. */
        struct geo_point below = {.lon = s->at.lon, .lat = p.lat};
        if (lat_distance(p.lat, s->at.lat) > s->height / 2 ||
            geo_distance(p, below) > s->width / 2) {
            return false;
        }
    }
    *distance = geo_distance(s->at, p);
    return s->box || *distance <= s->radius;
}

/* ---- cells ---- */

/* The cell beside it, the world being round both ways. */
static struct geo_cell east_of(struct geo_cell c, int by)
{
    uint64_t lon = c.bits & LON_BITS;
    uint64_t lat = c.bits & LAT_BITS;
    uint64_t gaps = LAT_BITS >> (64 - c.steps * 2);
    lon = by > 0 ? lon + (gaps + 1) : (lon | gaps) - (gaps + 1);
    lon &= LON_BITS >> (64 - c.steps * 2);
    return (struct geo_cell){.bits = lon | lat, .steps = c.steps};
}

static struct geo_cell north_of(struct geo_cell c, int by)
{
    uint64_t lon = c.bits & LON_BITS;
    uint64_t lat = c.bits & LAT_BITS;
    uint64_t gaps = LON_BITS >> (64 - c.steps * 2);
    lat = by > 0 ? lat + (gaps + 1) : (lat | gaps) - (gaps + 1);
    lat &= LAT_BITS >> (64 - c.steps * 2);
    return (struct geo_cell){.bits = lon | lat, .steps = c.steps};
}

enum { OWN, NORTH, SOUTH, EAST, WEST, NORTH_EAST, NORTH_WEST, SOUTH_EAST, SOUTH_WEST };

static void surround(struct geo_cell own, struct geo_cell to[GEO_CELLS])
{
    to[OWN] = own;
    to[NORTH] = north_of(own, 1);
    to[SOUTH] = north_of(own, -1);
    to[EAST] = east_of(own, 1);
    to[WEST] = east_of(own, -1);
    to[NORTH_EAST] = east_of(to[NORTH], 1);
    to[NORTH_WEST] = east_of(to[NORTH], -1);
    to[SOUTH_EAST] = east_of(to[SOUTH], 1);
    to[SOUTH_WEST] = east_of(to[SOUTH], -1);
}

/* So many that a cell is about as large as the radius. */
static unsigned steps_for(double radius_m, double lat)
{
    int steps = 1;
    if (radius_m == 0) {
        return GEO_STEPS;
    }
    while (radius_m < MERCATOR_MAX) {
        radius_m *= 2;
        steps++;
    }
    steps -= 2;
    /* Towards the poles cells get narrower. */
    if (fabs(lat) > 66) {
        steps -= fabs(lat) > 80 ? 2 : 1;
    }
    return (unsigned)MAX(MIN(steps, GEO_STEPS), 1);
}

/* Degrees that the shape reaches to. */
static struct area bounds_of(const struct geo_shape *s)
{
    double height = s->box ? s->height / 2 : s->radius;
    double width = s->box ? s->width / 2 : s->radius;
    double lat = degrees(height / EARTH_RADIUS_M);
    /* Meridians are nearest to one another at the edge that is nearer to a pole. */
    double edge = s->at.lat < 0 ? s->at.lat - lat : s->at.lat + lat;
    double lon = degrees(width / EARTH_RADIUS_M / cos(radians(edge)));
    return (struct area){.lon = {s->at.lon - lon, s->at.lon + lon},
                         .lat = {s->at.lat - lat, s->at.lat + lat}};
}

/* Whether some neighbour ends before the shape does. */
static bool too_small(const struct geo_cell cells[GEO_CELLS], const struct area *bounds)
{
    return decode(cells[NORTH]).lat.max < bounds->lat.max ||
           decode(cells[SOUTH]).lat.min > bounds->lat.min ||
           decode(cells[EAST]).lon.max < bounds->lon.max ||
           decode(cells[WEST]).lon.min > bounds->lon.min;
}

static void forget(struct geo_cell cells[GEO_CELLS], unsigned a, unsigned b, unsigned c)
{
    cells[a] = cells[b] = cells[c] = (struct geo_cell){0};
}

void geo_cover(const struct geo_shape *s, struct geo_cell to[GEO_CELLS])
{
    struct area bounds = bounds_of(s);
    double half_w = s->width / 2;
    double half_h = s->height / 2;
    double reach = s->box ? sqrt(half_w * half_w + half_h * half_h) : s->radius;
    unsigned steps = steps_for(reach, s->at.lat);
    surround(cell_at(s->at, steps), to);
    if (steps > 1 && too_small(to, &bounds)) {
        steps--;
        surround(cell_at(s->at, steps), to);
    }
    if (steps < 2) {
        return;
    }
    /* Neighbours that the shape does not reach. */
    struct area own = decode(to[OWN]);
    if (own.lat.min < bounds.lat.min) {
        forget(to, SOUTH, SOUTH_WEST, SOUTH_EAST);
    }
    if (own.lat.max > bounds.lat.max) {
        forget(to, NORTH, NORTH_EAST, NORTH_WEST);
    }
    if (own.lon.min < bounds.lon.min) {
        forget(to, WEST, SOUTH_WEST, NORTH_WEST);
    }
    if (own.lon.max > bounds.lon.max) {
        forget(to, EAST, SOUTH_EAST, NORTH_EAST);
    }
}

void geo_cell_scores(struct geo_cell c, double *low, double *high)
{
    unsigned shift = 2 * (GEO_STEPS - c.steps);
    *low = (double)(c.bits << shift);
    *high = (double)((c.bits + 1) << shift);
}
