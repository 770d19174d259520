// SPDX-License-Identifier: BSD-3-Clause
/* Places: known ones, and that what is covered by cells is all that lies within a shape. */
#include "node/types/geohash.h"

#include "common/base/rng.h"

#include "tests/unit/unit.h"

#include <math.h>
#include <string.h>

static const struct geo_point palermo = {13.361389, 38.115556};
static const struct geo_point catania = {15.087269, 37.502669};

static void test_known_places(void **state)
{
    (void)state;
    char text[12];
    geo_text(geo_decode((double)geo_encode(palermo)), text);
    assert_string_equal(text, "sqc8b49rny0");
    geo_text(geo_decode((double)geo_encode(catania)), text);
    assert_string_equal(text, "sqdtr74hyu0");
    assert_int_equal(geo_encode(palermo), 3479099956230698);
    double d = geo_distance(geo_decode((double)geo_encode(palermo)),
                            geo_decode((double)geo_encode(catania)));
    assert_true(fabs(d - 166274.1516) < 0.0001);
    assert_true(geo_distance(palermo, palermo) == 0);
    assert_false(geo_point_valid((struct geo_point){200, 0}));
    assert_false(geo_point_valid((struct geo_point){0, 85.1}));
}

static struct geo_point some_point(struct rng *rng)
{
    return (struct geo_point){.lon = rng_double(rng) * 360 - 180,
                              .lat = rng_double(rng) * 170 - 85};
}

static void test_what_is_encoded_is_near_what_is_decoded(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 2);
    for (int i = 0; i < 10000; i++) {
        struct geo_point p = some_point(&rng);
        assert_true(geo_distance(p, geo_decode((double)geo_encode(p))) < 1);
    }
    /* Any score is some place. */
    static const double odd[] = {-1, -1e30, 1e30, 0x1p63, 0x1p64, INFINITY, -INFINITY, 0.5};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        assert_true(geo_point_valid(geo_decode(odd[i])));
    }
}

static bool covered(const struct geo_cell cells[GEO_CELLS], double score)
{
    for (size_t i = 0; i < GEO_CELLS; i++) {
        double low;
        double high;
        geo_cell_scores(cells[i], &low, &high);
        if (cells[i].steps != 0 && score >= low && score < high) {
            return true;
        }
    }
    return false;
}

/* Far enough from the poles and from the line where longitudes begin anew, where Redis's cells
 * leave something out, too. */
static void test_cells_cover_the_shape(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    uint64_t inside = 0;
    for (int i = 0; i < 2000; i++) {
        double size = pow(10, 2 + rng_double(&rng) * 4.2);
        struct geo_shape s = {
            .at = {.lon = rng_double(&rng) * 240 - 120, .lat = rng_double(&rng) * 120 - 60},
            .box = rng_below(&rng, 2) == 0,
            .radius = size,
            .width = size * (0.3 + rng_double(&rng)),
            .height = size * (0.3 + rng_double(&rng))};
        struct geo_cell cells[GEO_CELLS];
        geo_cover(&s, cells);
        double reach = size / 100000;
        for (int k = 0; k < 200; k++) {
            struct geo_point p = {.lon = s.at.lon + (rng_double(&rng) - 0.5) * reach * 3,
                                  .lat = s.at.lat + (rng_double(&rng) - 0.5) * reach * 2};
            double score = (double)geo_encode(p);
            double distance;
            if (geo_within(&s, geo_decode(score), &distance)) {
                assert_true(s.box || distance <= s.radius);
                assert_true(covered(cells, score));
                inside++;
            }
        }
    }
    assert_true(inside > 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_places),
        cmocka_unit_test(test_what_is_encoded_is_near_what_is_decoded),
        cmocka_unit_test(test_cells_cover_the_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
