// SPDX-License-Identifier: BSD-3-Clause
#include "common/wire/wire.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct wire_message registration(void)
{
    struct wire_message m = {.kind = WIRE_REGISTER};
    struct wire_registration *r = &m.registration;
    r->wire_version = 1;
    r->incarnation = UINT64_MAX;
    r->port = 7001;
    r->weight = 100;
    r->epoch = 3;
    (void)snprintf(r->id, sizeof(r->id), "%040x", 77);
    (void)snprintf(r->host, sizeof(r->host), "10.0.0.1");
    (void)snprintf(r->zone, sizeof(r->zone), "east");
    wire_shards_add(&r->held, (struct wire_shard){.shard = 0, .term = 1, .version = 2, .keys = 3});
    wire_shards_add(&r->held, (struct wire_shard){.shard = SLOTS - 1, .term = UINT64_MAX});
    return m;
}

static void test_a_registration_travels_whole(void **state)
{
    (void)state;
    struct wire_message m = registration();
    struct wire_frame f = {0};
    wire_encode(&m, &f);
    struct wire_message got;
    assert_null(wire_decode(f.argv, f.argc, &got));
    assert_int_equal(got.kind, WIRE_REGISTER);
    assert_int_equal(got.registration.wire_version, 1);
    assert_true(got.registration.incarnation == UINT64_MAX);
    assert_string_equal(got.registration.id, m.registration.id);
    assert_string_equal(got.registration.cluster_id, "");
    assert_string_equal(got.registration.host, "10.0.0.1");
    assert_string_equal(got.registration.zone, "east");
    assert_int_equal(got.registration.port, 7001);
    assert_int_equal(got.registration.held.count, 2);
    assert_int_equal(got.registration.held.items[0].keys, 3);
    assert_int_equal(got.registration.held.items[1].shard, SLOTS - 1);
    assert_non_null(wire_shards_find(&got.registration.held, SLOTS - 1));
    assert_null(wire_shards_find(&got.registration.held, 5));
    wire_message_fini(&got);
    wire_message_fini(&m);
    wire_frame_fini(&f);
}

static void test_a_map_travels_as_any_bytes(void **state)
{
    (void)state;
    struct wire_message m = {.kind = WIRE_MAP};
    m.map.epoch = 9;
    m.map.map = slice_of("a\0\r\n\xff", 5);
    struct wire_frame f = {0};
    wire_encode(&m, &f);
    struct wire_message got;
    assert_null(wire_decode(f.argv, f.argc, &got));
    assert_int_equal(got.map.epoch, 9);
    assert_true(slice_eq(got.map.map, m.map.map));
    wire_frame_fini(&f);
}

static void test_every_kind_of_message_decodes_to_itself(void **state)
{
    (void)state;
    struct wire_frame f = {0};
    for (int k = 0; k < WIRE_KINDS; k++) {
        struct wire_message m = {.kind = (enum wire_kind)k};
        wire_encode(&m, &f);
        assert_true(slice_eq(f.argv[0], slice_str(wire_kind_name(m.kind))));
        struct wire_message got;
        assert_null(wire_decode(f.argv, f.argc, &got));
        assert_int_equal(got.kind, k);
        wire_message_fini(&got);
    }
    wire_frame_fini(&f);
}

static const char *decode_heartbeat(const char *epoch, const char *held)
{
    struct slice argv[] = {SLICE("HEARTBEAT"), SLICE("0"), slice_str(epoch),
                           SLICE("0"),         SLICE("0"), SLICE("0"),
                           SLICE("0"),         SLICE("0"), slice_str(held)};
    struct wire_message m;
    const char *wrong = wire_decode(argv, 9, &m);
    if (wrong == NULL) {
        wire_message_fini(&m);
    }
    return wrong;
}

static void test_what_does_not_fit_is_refused_by_the_fields_name(void **state)
{
    (void)state;
    assert_null(decode_heartbeat("1", ""));
    assert_null(decode_heartbeat("1", "1:2:3:4:5 2:0:0:0:0"));
    assert_string_equal(decode_heartbeat("-1", ""), "epoch");
    assert_string_equal(decode_heartbeat("18446744073709551616", ""), "epoch");
    assert_string_equal(decode_heartbeat("", ""), "epoch");
    const char *bad[] = {"1",
                         "1:2:3:4",
                         "1:2:3:4:5:6",
                         "16384:1:1:1:1",
                         "x:1:1:1:1",
                         "1:1:1:1:1 1:1:1:1:1",
                         " 1:1:1:1:1",
                         "1:1:1:1:1  2:1:1:1:1",
                         "2:1:1:1:1 1:1:1:1:1",
                         "1::::",
                         "1:1:1:1:-1",
                         "1:1:1:1:1 ",
                         "1:1:1:1:1:",
                         "99999999999999999999:1:1:1:1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_string_equal(decode_heartbeat("1", bad[i]), "held");
    }
    struct wire_message m;
    struct slice unknown[] = {SLICE("NONSENSE")};
    assert_string_equal(wire_decode(unknown, 1, &m), "unknown message");
    assert_string_equal(wire_decode(unknown, 0, &m), "empty message");
    struct slice few[] = {SLICE("HEARD"), SLICE("1")};
    assert_string_equal(wire_decode(few, 2, &m), "fields are missing");
    char reason[200];
    memset(reason, 'a', sizeof(reason));
    struct slice refused[] = {SLICE("REFUSED"), slice_of(reason, 159)};
    assert_null(wire_decode(refused, 2, &m));
    refused[1].len = 160;
    assert_string_equal(wire_decode(refused, 2, &m), "reason");
    refused[1] = SLICE("line\nline");
    assert_string_equal(wire_decode(refused, 2, &m), "reason");
}

#define ID "00000000000000000000000000000000000000aa"

static void test_reports_and_progress_travel_whole(void **state)
{
    (void)state;
    struct wire_message m = {.kind = WIRE_REPORT};
    wire_changes_add(&m.report.changes, WIRE_HANDED, 7, UINT64_MAX, ID);
    wire_changes_add(&m.report.changes, WIRE_ADD, 7, 0, ID); /* any order, a shard several times */
    struct wire_frame f = {0};
    wire_encode(&m, &f);
    assert_true(slice_eq(f.argv[1], SLICE("HANDED:7:18446744073709551615:" ID " ADD:7:0:" ID)));
    struct wire_message got;
    assert_null(wire_decode(f.argv, f.argc, &got));
    assert_int_equal(got.report.changes.count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct wire_change *is = &got.report.changes.items[i];
        const struct wire_change *was = &m.report.changes.items[i];
        assert_int_equal(is->op, was->op);
        assert_int_equal(is->shard, was->shard);
        assert_true(is->term == was->term);
        assert_string_equal(is->node, was->node);
    }
    wire_message_fini(&got);
    wire_message_fini(&m);
    m = (struct wire_message){.kind = WIRE_PROGRESS};
    struct wire_copy c = {SLOTS - 1, ID, 1, 2, 3, 4, UINT64_MAX};
    wire_copies_add(&m.progress.copies, &c);
    wire_encode(&m, &f);
    assert_null(wire_decode(f.argv, f.argc, &got));
    assert_int_equal(got.progress.copies.count, 1);
    const struct wire_copy *is = got.progress.copies.items;
    assert_int_equal(is->shard, SLOTS - 1);
    assert_string_equal(is->node, ID);
    assert_true(is->lag_versions == 1 && is->lag_bytes == 2 && is->lag_ms == 3);
    assert_true(is->done == 4 && is->left == UINT64_MAX);
    wire_message_fini(&got);
    wire_message_fini(&m);
    wire_frame_fini(&f);
}

static void test_bad_reports_and_progress_are_refused(void **state)
{
    (void)state;
    const char *reports[] = {
        "ADD",         "ADD:1:1",         "ADD:1:1:" ID "0", "ADD:1:1:aa",      "add:1:1:" ID,
        "ADD:x:1:" ID, "ADD:16384:1:" ID, "ADD:1:-1:" ID,    "ADD:1:1:" ID " ", " ADD:1:1:" ID,
        ":1:1:" ID,    "ADD:1:1:" ID ":1"};
    struct wire_message m;
    for (size_t i = 0; i < ARRAY_LEN(reports); i++) {
        struct slice argv[] = {SLICE("REPORT"), slice_str(reports[i])};
        assert_string_equal(wire_decode(argv, 2, &m), "changes");
    }
    const char *copies[] = {"1:" ID ":1:1:1:1", "1:" ID ":1:1:1:1:1:1", "1:x:1:1:1:1:1",
                            "1:" ID ":1:1:1:1:1 "};
    for (size_t i = 0; i < ARRAY_LEN(copies); i++) {
        struct slice argv[] = {SLICE("PROGRESS"), slice_str(copies[i])};
        assert_string_equal(wire_decode(argv, 2, &m), "copies");
    }
}

static void test_random_words_do_no_harm(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 7);
    struct wire_message base = registration();
    struct wire_frame f = {0};
    wire_encode(&base, &f);
    int accepted = 0;
    for (int i = 0; i < 20000; i++) {
        struct slice argv[WIRE_FIELDS_MAX + 1];
        char word[32];
        memcpy(argv, f.argv, sizeof(argv));
        size_t len = rng_below(&r, sizeof(word));
        for (size_t j = 0; j < len; j++) {
            word[j] = "0123456789: \n\0abcz"[rng_below(&r, 18)];
        }
        argv[rng_below(&r, f.argc)] = slice_of(word, len);
        struct wire_message got;
        if (wire_decode(argv, f.argc, &got) == NULL) {
            accepted++;
            wire_message_fini(&got);
        }
    }
    assert_in_range(accepted, 1, 19999);
    wire_message_fini(&base);
    wire_frame_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_registration_travels_whole),
        cmocka_unit_test(test_a_map_travels_as_any_bytes),
        cmocka_unit_test(test_every_kind_of_message_decodes_to_itself),
        cmocka_unit_test(test_what_does_not_fit_is_refused_by_the_fields_name),
        cmocka_unit_test(test_reports_and_progress_travel_whole),
        cmocka_unit_test(test_bad_reports_and_progress_are_refused),
        cmocka_unit_test(test_random_words_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
