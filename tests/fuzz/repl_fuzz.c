// SPDX-License-Identifier: BSD-3-Clause
/* Frames between nodes and the entries in them, as a node reads them: any bytes, and what was read
 * is written as the same bytes again. */
#include "node/log/entry.h"
#include "node/repl/frame.h"

#include "common/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_entries(struct slice in)
{
    struct entry e;
    int64_t len;
    while ((len = entry_read(in, &e)) > 0) {
        INVARIANT((size_t)len <= in.len);
        struct str again = {0};
        entry_write(str_reserve(&again, entry_size(&e)), &e);
        again.len = entry_size(&e);
        INVARIANT(slice_eq(str_slice(&again), slice_of(in.ptr, (size_t)len)));
        str_fini(&again);
        struct effects it = effects_of(&e);
        struct effect f;
        uint32_t n = 0;
        while (effects_next(&it, &f)) {
            struct slice *argv = mem_alloc(sizeof(*argv) * f.argc);
            effect_args(&f, argv);
            n++;
            mem_free(argv);
        }
        INVARIANT(n == e.n_effects);
        in = slice_of(in.ptr + len, in.len - (size_t)len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice frame = slice_of((const char *)data, size);
    struct repl_frame_room room = {0};
    struct repl_message m;
    if (repl_frame_read(frame, &m, &room)) {
        struct str to = {0};
        struct slice body;
        repl_frame_write(&m, &to, &body);
        str_append_slice(&to, body);
        INVARIANT(slice_eq(str_slice(&to), frame));
        str_fini(&to);
        if (m.kind == REPL_ENTRIES) {
            read_entries(m.entries.bytes);
        } else if (m.kind == REPL_COPY_WINDOW) {
            read_entries(m.copy_window.bytes);
        }
    }
    repl_frame_room_fini(&room);
    read_entries(frame);
    return 0;
}
