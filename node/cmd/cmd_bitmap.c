// SPDX-License-Identifier: BSD-3-Clause
/* Strings as bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. Bit 0 is the highest of byte 0. */
#include "node/cmd/args.h"
#include "node/cmd/bits.h"
#include "node/cmd/handlers.h"
#include "node/keyspace/notify.h"
#include "node/keyspace/table.h"
#include "node/types/string.h"

#include "common/base/mem.h"
#include "common/base/num.h"

/* ---- shared with cmd_bitfield.c ---- */

bool bits_offset(struct call *c, struct slice text, bool hash_allowed, unsigned width,
                 uint64_t *out)
{
    int64_t offset;
    bool hash = hash_allowed && text.len > 0 && text.ptr[0] == '#';
    if (hash) {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    if (!num_parse_i64(text, &offset) ||
        (hash && __builtin_mul_overflow(offset, (int64_t)width, &offset)) || offset < 0 ||
        (offset >> 3 >= c->ks->settings.proto_max_bulk_len && !c->db.applying)) {
        resp_error(&c->w, "ERR bit offset is not an integer or out of range");
        return false;
    }
    *out = (uint64_t)offset;
    return true;
}

bool bits_open(struct call *c, struct bits *b, uint64_t first, uint64_t last)
{
    b->probe = call_probe(c, 1);
    struct object *o = db_find(&c->db, &b->probe, c->argv[1]);
    if (!check_string(c, o)) {
        return false;
    }
    size_t len = o == NULL ? 0 : string_len(o);
    size_t wanted = MAX(len, (size_t)(last >> 3) + 1);
    b->is_new = o == NULL;
    b->grown = o == NULL || wanted > len;
    if (o == NULL) {
        o = string_new_bytes(c->argv[1], OBJECT_NO_EXPIRE, SLICE(""), true);
        b->object = string_resize(o, wanted, &b->bytes);
    } else {
        struct table_entry was = table_entry_of(o);
        db_before(&c->db, &b->probe, c->argv[1]);
        size_t at = (size_t)(first >> 3);
        b->object = string_resize_part(o, wanted, at, (size_t)(last >> 3) + 1 - at, &b->bytes);
        /* The table must know the address; whether the value changes is not known yet. */
        table_changed(keyspace_table(c->ks, c->db.index, b->probe.shard), b->probe.hash, was,
                      b->object);
    }
    b->len = wanted;
    return true;
}

void bits_close(struct call *c, const struct bits *b, bool changed)
{
    if (b->is_new) {
        db_add(&c->db, &b->probe, b->object);
    } else if (changed || b->grown) {
        struct table_entry same = table_entry_of(b->object);
        db_changed(&c->db, &b->probe, &same, b->object);
    }
}

/* ---- one bit ---- */

void cmd_setbit(struct call *c)
{
    uint64_t offset;
    int64_t on;
    if (!bits_offset(c, c->argv[2], false, 0, &offset)) {
        return;
    }
    if (!num_parse_i64(c->argv[3], &on) || (on != 0 && on != 1)) {
        resp_error(&c->w, "ERR bit is not an integer or out of range");
        return;
    }
    struct bits b;
    if (!bits_open(c, &b, offset, offset)) {
        return;
    }
    unsigned char byte = (unsigned char)b.bytes[offset >> 3];
    unsigned char mask = (unsigned char)(0x80U >> (offset & 7));
    bool was = (byte & mask) != 0;
    bool changed = was != (on == 1);
    b.bytes[offset >> 3] = (char)(on == 1 ? byte | mask : byte & ~mask);
    bits_close(c, &b, changed);
    if (changed || b.grown) {
        notify(&c->db, NOTIFY_STRING, "setbit", c->argv[1]);
        c->changes++;
    }
    resp_int(&c->w, was);
}

void cmd_getbit(struct call *c)
{
    uint64_t offset;
    if (!bits_offset(c, c->argv[2], false, 0, &offset)) {
        return;
    }
    struct probe p = call_probe(c, 1);
    const struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (!check_string(c, o)) {
        return;
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice v = o == NULL ? SLICE("") : string_bytes(o, digits);
    bool on =
        offset >> 3 < v.len && ((unsigned char)v.ptr[offset >> 3] << (offset & 7) & 0x80) != 0;
    resp_int(&c->w, on);
}

/* ---- ranges ---- */

/* From bit `first` to bit `last`, both within; empty if first > last. */
struct bit_range {
    int64_t first;
    int64_t last;
};

/* "BIT" or "BYTE". */
static bool parse_unit(struct call *c, size_t i, bool *bits)
{
    *bits = arg_is(c, i, "BIT");
    return *bits || arg_is(c, i, "BYTE") || arg_syntax_error(c);
}

/* Indexes, of bytes or bits, from the end if negative, as a range within `len` bytes. */
static struct bit_range clamp(int64_t start, int64_t end, bool bits, size_t len)
{
    int64_t total = (int64_t)len << (bits ? 3 : 0);
    start = start < 0 ? MAX(start + total, 0) : start;
    end = end < 0 ? MAX(end + total, 0) : MIN(end, total - 1);
    if (start > end) {
        return (struct bit_range){.first = 1, .last = 0};
    }
    return bits ? (struct bit_range){.first = start, .last = end}
                : (struct bit_range){.first = start * 8, .last = end * 8 + 7};
}

static inline uint64_t load_word(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    return w;
}

static int64_t count_bits(const char *p, size_t len)
{
    int64_t n = 0;
    for (; len >= 8; p += 8, len -= 8) {
        n += __builtin_popcountll(load_word(p));
    }
    for (; len > 0; p++, len--) {
        n += __builtin_popcount((unsigned char)*p);
    }
    return n;
}

static int64_t count_range(struct slice v, struct bit_range r)
{
    if (r.first > r.last) {
        return 0;
    }
    size_t from = (size_t)r.first >> 3;
    size_t to = (size_t)r.last >> 3;
    int64_t n = count_bits(v.ptr + from, to - from + 1);
    /* Less those before the first and behind the last. */
    n -= __builtin_popcount((unsigned char)v.ptr[from] & ~(0xffU >> (r.first & 7)) & 0xffU);
    n -= __builtin_popcount((unsigned char)v.ptr[to] & (0x7fU >> (r.last & 7)));
    return n;
}

void cmd_bitcount(struct call *c)
{
    struct probe p = call_probe(c, 1);
    const struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (o == NULL) {
        resp_int(&c->w, 0);
        return;
    }
    if (!check_string(c, o)) {
        return;
    }
    int64_t start = 0;
    int64_t end = -1;
    bool bits = false;
    if (c->argc == 4 || c->argc == 5) {
        if (!arg_int(c, 2, &start) || !arg_int(c, 3, &end)) {
            return;
        }
        if (start < 0 && end < 0 && start > end) {
            resp_int(&c->w, 0);
            return;
        }
        if (c->argc == 5 && !parse_unit(c, 4, &bits)) {
            return;
        }
    } else if (c->argc != 2) {
        arg_syntax_error(c);
        return;
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice v = string_bytes(o, digits);
    resp_int(&c->w, v.len == 0 ? 0 : count_range(v, clamp(start, end, bits, v.len)));
}

/* The first such bit in the range, -1 if there is none. */
static int64_t find_bit(struct slice v, struct bit_range r, bool on)
{
    unsigned char flip = on ? 0 : 0xff;
    for (int64_t at = r.first; at <= r.last;) {
        size_t byte = (size_t)at >> 3;
        if ((at & 7) == 0 && r.last - at >= 63 &&
            load_word(v.ptr + byte) == (on ? 0 : UINT64_MAX)) {
            at += 64;
            continue;
        }
        unsigned rest = ((unsigned char)v.ptr[byte] ^ flip) & (0xffU >> (at & 7));
        if (rest != 0) {
            int64_t found = (int64_t)byte * 8 + __builtin_clz(rest) - 24;
            return found <= r.last ? found : -1;
        }
        at = (int64_t)(byte + 1) * 8;
    }
    return -1;
}

void cmd_bitpos(struct call *c)
{
    int64_t on;
    if (!arg_int(c, 2, &on)) {
        return;
    }
    if (on != 0 && on != 1) {
        resp_error(&c->w, "ERR The bit argument must be 1 or 0.");
        return;
    }
    struct probe p = call_probe(c, 1);
    const struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (o == NULL) {
        resp_int(&c->w, on == 1 ? -1 : 0); /* like zeros without end */
        return;
    }
    if (!check_string(c, o)) {
        return;
    }
    int64_t start = 0;
    int64_t end = -1;
    bool bits = false;
    if (c->argc > 6) {
        arg_syntax_error(c);
        return;
    }
    if ((c->argc > 3 && !arg_int(c, 3, &start)) || (c->argc == 6 && !parse_unit(c, 5, &bits)) ||
        (c->argc > 4 && !arg_int(c, 4, &end))) {
        return;
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice v = string_bytes(o, digits);
    struct bit_range r =
        v.len == 0 ? (struct bit_range){.first = 1, .last = 0} : clamp(start, end, bits, v.len);
    int64_t found = find_bit(v, r, on == 1);
    if (found < 0 && on == 0 && c->argc <= 4 && r.first <= r.last) {
        found = (int64_t)v.len * 8; /* zeros follow what is there */
    }
    resp_int(&c->w, found);
}

/* ---- BITOP ---- */

enum operation { OP_AND, OP_OR, OP_XOR, OP_NOT };

static bool parse_operation(struct call *c, enum operation *out)
{
    static const char *const names[] = {"AND", "OR", "XOR", "NOT"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (arg_is(c, 1, names[i])) {
            *out = (enum operation)i;
            if (*out == OP_NOT && c->argc != 4) {
                resp_error(&c->w, "ERR BITOP NOT must be called with a single source key.");
                return false;
            }
            return true;
        }
    }
    return arg_syntax_error(c);
}

/* to = to op from, over n bytes; a loop that compilers make wide. */
static void combine(enum operation op, unsigned char *restrict to,
                    const unsigned char *restrict from, size_t n)
{
    switch (op) {
    case OP_AND:
        for (size_t i = 0; i < n; i++) {
            to[i] &= from[i];
        }
        break;
    case OP_OR:
        for (size_t i = 0; i < n; i++) {
            to[i] |= from[i];
        }
        break;
    case OP_XOR:
        for (size_t i = 0; i < n; i++) {
            to[i] ^= from[i];
        }
        break;
    case OP_NOT:
        for (size_t i = 0; i < n; i++) {
            to[i] = (unsigned char)~from[i];
        }
        break;
    }
}

/* The source's bytes, none if it is missing. Nothing is removed in between, because all sources
 * were looked for before. */
static struct slice source(struct call *c, size_t i, char *digits)
{
    struct probe p = call_probe(c, i);
    const struct object *o = db_peek(&c->db, &p, c->argv[i]);
    return o == NULL ? SLICE("") : string_bytes(o, digits);
}

void cmd_bitop(struct call *c)
{
    enum operation op = OP_AND;
    if (!parse_operation(c, &op)) {
        return;
    }
    size_t len = 0;
    for (size_t i = 3; i < c->argc; i++) {
        struct probe p = call_probe(c, i);
        const struct object *o = db_read(&c->db, &p, c->argv[i]);
        if (!check_string(c, o)) {
            return;
        }
        len = MAX(len, o == NULL ? 0 : string_len(o));
    }
    struct object *result = NULL;
    if (len > 0) {
        char *bytes;
        result = string_new_bytes(c->argv[2], OBJECT_NO_EXPIRE, SLICE(""), true);
        result = string_resize(result, len, &bytes);
        unsigned char *to = (unsigned char *)bytes;
        for (size_t i = 3; i < c->argc; i++) {
            char digits[NUM_I64_MAX_LEN];
            struct slice v = source(c, i, digits);
            if (i == 3 && op != OP_NOT) {
                memcpy(to, v.ptr, v.len);
                continue;
            }
            combine(op, to, (const unsigned char *)v.ptr, v.len);
            if (op == OP_AND) {
                memset(to + v.len, 0, len - v.len);
            }
        }
    }
    struct probe p = call_probe(c, 2);
    struct object *old = db_find(&c->db, &p, c->argv[2]);
    if (result == NULL && old != NULL) {
        db_remove(&c->db, &p, old, false);
        notify(&c->db, NOTIFY_GENERIC, "del", c->argv[2]);
        c->changes++;
    } else if (result != NULL) {
        if (old != NULL) {
            db_replace(&c->db, &p, old, result);
        } else {
            db_add(&c->db, &p, result);
        }
        notify(&c->db, NOTIFY_STRING, "set", c->argv[2]);
        c->changes++;
    }
    resp_int(&c->w, (int64_t)len);
}
