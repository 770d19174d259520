// SPDX-License-Identifier: BSD-3-Clause
/* BITFIELD and BITFIELD_RO: integers of any width at any bit. */
#include "node/cmd/args.h"
#include "node/cmd/bits.h"
#include "node/cmd/handlers.h"
#include "node/keyspace/notify.h"
#include "node/types/string.h"

#include "common/base/mem.h"
#include "common/base/num.h"

enum verb { FIELD_GET, FIELD_SET, FIELD_INCRBY };
enum overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

struct field_op {
    enum verb verb;
    enum overflow overflow;
    bool is_signed;
    unsigned width;
    uint64_t offset;
    int64_t operand;
};

struct field_ops {
    struct field_op *ops;
    size_t n;
    bool writes;
    uint64_t first_bit; /* of what is written */
    uint64_t last_bit;
};

/* ---- arguments ---- */

static bool parse_type(struct call *c, struct slice text, struct field_op *op)
{
    int64_t width = 0;
    op->is_signed = text.len > 0 && text.ptr[0] == 'i';
    if (text.len < 2 || (!op->is_signed && text.ptr[0] != 'u') ||
        !num_parse_i64(slice_of(text.ptr + 1, text.len - 1), &width) || width < 1 ||
        width > (op->is_signed ? 64 : 63)) {
        resp_error(&c->w, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is "
                          "not supported but i64 is.");
        return false;
    }
    op->width = (unsigned)width;
    return true;
}

static bool parse_overflow(struct call *c, size_t i, enum overflow *out)
{
    if (arg_is(c, i, "WRAP")) {
        *out = OVERFLOW_WRAP;
    } else if (arg_is(c, i, "SAT")) {
        *out = OVERFLOW_SAT;
    } else if (arg_is(c, i, "FAIL")) {
        *out = OVERFLOW_FAIL;
    } else {
        resp_error(&c->w, "ERR Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

/* One operation from argument i on; advances i behind it. */
static bool parse_op(struct call *c, size_t *i, struct field_op *op)
{
    size_t left = c->argc - *i - 1;
    if (arg_is(c, *i, "GET") && left >= 2) {
        op->verb = FIELD_GET;
    } else if (arg_is(c, *i, "SET") && left >= 3) {
        op->verb = FIELD_SET;
    } else if (arg_is(c, *i, "INCRBY") && left >= 3) {
        op->verb = FIELD_INCRBY;
    } else {
        return arg_syntax_error(c);
    }
    if (!parse_type(c, c->argv[*i + 1], op) ||
        !bits_offset(c, c->argv[*i + 2], true, op->width, &op->offset)) {
        return false;
    }
    if (op->verb != FIELD_GET && !arg_int(c, *i + 3, &op->operand)) {
        return false;
    }
    *i += op->verb == FIELD_GET ? 3 : 4;
    return true;
}

static bool parse_ops(struct call *c, bool read_only, struct field_ops *out)
{
    enum overflow overflow = OVERFLOW_WRAP;
    out->ops = mem_alloc((c->argc / 3 + 1) * sizeof(*out->ops));
    for (size_t i = 2; i < c->argc;) {
        if (arg_is(c, i, "OVERFLOW") && i + 1 < c->argc) {
            if (!parse_overflow(c, i + 1, &overflow)) {
                return false;
            }
            i += 2;
            continue;
        }
        struct field_op *op = &out->ops[out->n];
        *op = (struct field_op){.overflow = overflow};
        if (!parse_op(c, &i, op)) {
            return false;
        }
        out->n++;
        if (op->verb != FIELD_GET) {
            out->first_bit = out->writes ? MIN(out->first_bit, op->offset) : op->offset;
            out->writes = true;
            out->last_bit = MAX(out->last_bit, op->offset + op->width - 1);
        }
    }
    if (out->writes && read_only) {
        resp_error(&c->w, "ERR BITFIELD_RO only supports the GET subcommand");
        return false;
    }
    return true;
}

/* ---- fields ---- */

static uint64_t load_field(struct slice v, uint64_t offset, unsigned width)
{
    uint64_t value = 0;
    for (uint64_t bit = offset; bit < offset + width;) {
        unsigned take = (unsigned)MIN(8 - (bit & 7), offset + width - bit);
        unsigned byte = bit >> 3 < v.len ? (unsigned char)v.ptr[bit >> 3] : 0;
        value = value << take | (byte >> (8 - (bit & 7) - take) & ((1U << take) - 1));
        bit += take;
    }
    return value;
}

static void store_field(char *bytes, uint64_t offset, unsigned width, uint64_t value)
{
    for (unsigned left = width; left > 0;) {
        uint64_t bit = offset + width - left;
        unsigned take = (unsigned)MIN(8 - (bit & 7), left);
        unsigned shift = (unsigned)(8 - (bit & 7) - take);
        unsigned mask = ((1U << take) - 1) << shift;
        unsigned part = (unsigned)(value >> (left - take)) << shift & mask;
        bytes[bit >> 3] = (char)(((unsigned char)bytes[bit >> 3] & ~mask) | part);
        left -= take;
    }
}

static int64_t sign_extend(uint64_t value, unsigned width)
{
    return (int64_t)(value << (64 - width)) >> (64 - width);
}

/* What becomes of a result that may not fit. False: it must not be stored. */
static bool fit(const struct field_op *op, __int128 result, int64_t *out)
{
    __int128 max = ((__int128)1 << (op->is_signed ? op->width - 1 : op->width)) - 1;
    __int128 min = op->is_signed ? -max - 1 : 0;
    if (result >= min && result <= max) {
        *out = (int64_t)result;
        return true;
    }
    uint64_t low = (uint64_t)result << (64 - op->width) >> (64 - op->width);
    switch (op->overflow) {
    case OVERFLOW_FAIL:
        return false;
    case OVERFLOW_SAT:
        *out = (int64_t)(result > max ? max : min);
        break;
    case OVERFLOW_WRAP:
        *out = op->is_signed ? sign_extend(low, op->width) : (int64_t)low;
        break;
    }
    return true;
}

static int64_t read_field(const struct field_op *op, struct slice v)
{
    uint64_t value = load_field(v, op->offset, op->width);
    return op->is_signed ? sign_extend(value, op->width) : (int64_t)value;
}

/* Replies and writes one SET or INCRBY; true if it changed something. */
static bool write_field(struct call *c, const struct field_op *op, struct bits *b)
{
    int64_t old = read_field(op, slice_of(b->bytes, b->len));
    /* A negative number for an unsigned field is a very big one. */
    __int128 result = op->verb == FIELD_INCRBY ? (__int128)old + op->operand
                      : op->is_signed          ? (__int128)op->operand
                                               : (__int128)(uint64_t)op->operand;
    int64_t value = 0;
    if (!fit(op, result, &value)) {
        resp_nil(&c->w);
        return false;
    }
    resp_int(&c->w, op->verb == FIELD_SET ? old : value);
    store_field(b->bytes, op->offset, op->width, (uint64_t)value);
    return b->grown || old != value;
}

static void run_writing(struct call *c, const struct field_ops *f)
{
    struct bits b;
    if (!bits_open(c, &b, f->first_bit, f->last_bit)) {
        return;
    }
    resp_array(&c->w, f->n);
    uint64_t changed = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (f->ops[i].verb == FIELD_GET) {
            resp_int(&c->w, read_field(&f->ops[i], slice_of(b.bytes, b.len)));
        } else {
            changed += write_field(c, &f->ops[i], &b);
        }
    }
    bits_close(c, &b, changed > 0);
    if (changed > 0) {
        notify(&c->db, NOTIFY_STRING, "setbit", c->argv[1]);
    }
    c->changes += changed;
}

static void run_reading(struct call *c, const struct field_ops *f)
{
    struct probe p = call_probe(c, 1);
    const struct object *o = db_read(&c->db, &p, c->argv[1]);
    if (!check_string(c, o)) {
        return;
    }
    char digits[NUM_I64_MAX_LEN];
    struct slice v = o == NULL ? SLICE("") : string_bytes(o, digits);
    resp_array(&c->w, f->n);
    for (size_t i = 0; i < f->n; i++) {
        resp_int(&c->w, read_field(&f->ops[i], v));
    }
}

static void run(struct call *c, bool read_only)
{
    struct field_ops f = {0};
    if (parse_ops(c, read_only, &f)) {
        if (f.writes) {
            run_writing(c, &f);
        } else {
            run_reading(c, &f);
        }
    }
    mem_free(f.ops);
}

void cmd_bitfield(struct call *c)
{
    run(c, false);
}

void cmd_bitfield_ro(struct call *c)
{
    run(c, true);
}
