// SPDX-License-Identifier: BSD-3-Clause
/* Hostile words as a message between node and coordinator: the input's lines are the words. What is
 * accepted must be the same message again when it is encoded and decoded. */
#include "common/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice argv[WIRE_FIELDS_MAX + 4];
    size_t argc = 0;
    const char *at = (const char *)data;
    const char *end = at + size;
    while (at < end && argc < ARRAY_LEN(argv)) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        argv[argc++] = slice_of(at, (size_t)(stop - at));
        at = stop + 1;
    }
    struct wire_message m;
    if (wire_decode(argv, argc, &m) != NULL) {
        return 0;
    }
    struct wire_frame f = {0};
    wire_encode(&m, &f);
    INVARIANT(f.argc <= argc);
    for (size_t i = 0; i < f.argc; i++) {
        INVARIANT(slice_eq(f.argv[i], argv[i]));
    }
    struct wire_message again;
    const char *wrong = wire_decode(f.argv, f.argc, &again);
    INVARIANT(wrong == NULL);
    INVARIANT(again.kind == m.kind);
    wire_message_fini(&again);
    wire_frame_fini(&f);
    wire_message_fini(&m);
    return 0;
}
