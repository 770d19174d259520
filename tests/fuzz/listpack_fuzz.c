// SPDX-License-Identifier: BSD-3-Clause
/* Hostile bytes as a listpack, a ziplist and a zipmap; what is found valid can be walked both ways
 * and changed, and stays valid. */
#include "node/types/listpack.h"
#include "node/types/ziplist.h"

#include "common/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_valid(const struct listpack *lp, size_t count)
{
    size_t n;
    INVARIANT(listpack_valid(listpack_slice(lp), &n));
    INVARIANT(n == count);
    INVARIANT(listpack_count(lp) == count);
}

static void change(struct listpack *lp, size_t n, struct slice v, uint8_t choice)
{
    if (n > 0) {
        const unsigned char *p = listpack_at(lp, choice % n);
        listpack_replace(&lp, p, v);
        check_valid(lp, n);
        p = listpack_find(listpack_first(lp), v, 0);
        INVARIANT(p != NULL && listpack_equal(p, v));
        listpack_insert_after(&lp, p, v);
        check_valid(lp, n + 1);
        size_t gone = 1 + choice % 3;
        listpack_delete_range(&lp, 0, gone);
        check_valid(lp, n + 1 - MIN(gone, n + 1));
    }
    listpack_free(&lp);
}

static void read_listpack(struct slice in)
{
    size_t count;
    if (!listpack_valid(in, &count)) {
        return;
    }
    struct listpack *lp = listpack_from(in);
    struct listpack *again = listpack_new();
    size_t n = 0;
    char digits[NUM_I64_MAX_LEN];
    for (const unsigned char *p = listpack_first(lp); p != NULL; p = listpack_next(p)) {
        listpack_append(&again, listpack_text(p, digits));
        n++;
    }
    INVARIANT(n == count);
    check_valid(again, count);
    for (const unsigned char *p = listpack_last(lp); p != NULL; n--) {
        p = listpack_prev(lp, p);
    }
    INVARIANT(n == 0);
    listpack_free(&again);
    change(lp, count, slice_of(in.ptr, MIN(in.len, 10)), (uint8_t)in.ptr[in.len - 2]);
}

static void read_old(struct slice in)
{
    size_t count;
    size_t sum = 0;
    if (ziplist_valid(in, &count)) {
        struct ziplist_walk w = ziplist_walk(in);
        struct listpack_value v;
        while (ziplist_next(&w, &v)) {
            INVARIANT(v.ptr == NULL || v.ptr + v.len < in.ptr + in.len);
            count--;
        }
        INVARIANT(count == 0);
    }
    if (zipmap_valid(in, &count)) {
        struct zipmap_walk w = zipmap_walk(in);
        struct slice field;
        struct slice value;
        while (zipmap_next(&w, &field, &value)) {
            sum += field.len + value.len;
            count--;
        }
        INVARIANT(count == 0 && sum < in.len);
    }
}

/* The bytes as they are, and with a head that suits them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_alloc(size + 11);
    memcpy(copy, data, size);
    read_listpack(slice_of(copy, size));
    read_old(slice_of(copy, size));
    uint32_t bytes = htole32((uint32_t)(size + LISTPACK_HEADER + 1));
    memcpy(copy, &bytes, sizeof(bytes));
    memset(copy + 4, 0xFF, 2);
    memcpy(copy + LISTPACK_HEADER, data, size);
    copy[LISTPACK_HEADER + size] = (char)0xFF;
    read_listpack(slice_of(copy, size + LISTPACK_HEADER + 1));
    if (size > 4) {
        /* The offset of the last element is the input's own. */
        bytes = htole32((uint32_t)(size - 4 + 11));
        memcpy(copy, &bytes, sizeof(bytes));
        memcpy(copy + 4, data, 4);
        memset(copy + 8, 0xFF, 2);
        memcpy(copy + 10, data + 4, size - 4);
        copy[size + 6] = (char)0xFF;
        read_old(slice_of(copy, size + 7));
    }
    mem_free(copy);
    return 0;
}
