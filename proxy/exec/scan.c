// SPDX-License-Identifier: BSD-3-Clause
/* SCAN over all shards with a plain integer cursor: inner << 14 | shard. A node goes on from shard
 * to shard as far as it holds them; each cursor goes to the primary of its shard. One call of the
 * client makes several hops, so that a small keyspace over many nodes does not take many calls. */
#include "proxy/exec/exec_priv.h"

#include "common/base/num.h"

#define SCAN_HOPS     32
#define SHARD_BITS    14
#define COUNT_DEFAULT 10

struct scan {
    uint64_t cursor; /* where the next hop begins; 0 behind the last shard */
    int64_t count;   /* enough elements for one call */
    int64_t gathered;
    int hops;
    struct str options; /* the arguments behind the cursor, as RESP */
    size_t n_options;
    struct outbuf items;
};

void scan_free(struct scan **sp)
{
    struct scan *s = *sp;
    *sp = NULL;
    if (s != NULL) {
        str_fini(&s->options);
        outbuf_fini(&s->items);
        mem_free(s);
    }
}

static int scan_shard(const struct exec *x, uint64_t cursor)
{
    uint64_t shard = cursor & ((1u << SHARD_BITS) - 1);
    return shard < x->shards ? (int)shard : -1;
}

static void hop(struct exec *x, struct request *r)
{
    struct scan *scan = r->gather->scan;
    char number[NUM_I64_MAX_LEN];
    size_t digits = num_print_u64(number, scan->cursor);
    struct str cmd = {0};
    str_printf(&cmd, "*%zu\r\n$4\r\nSCAN\r\n$%zu\r\n%.*s\r\n", scan->n_options + 2, digits,
               (int)digits, number);
    str_append_slice(&cmd, str_slice(&scan->options));
    struct chunk *chunk = chunk_new(cmd.len);
    memcpy(chunk->data, cmd.ptr, cmd.len);
    chunk->len = cmd.len;
    struct part *p = gather_add(r);
    part_set_bytes(p, chunk, chunk->data, cmd.len);
    chunk_unref(&chunk);
    str_fini(&cmd);
    p->call.shard = scan_shard(x, scan->cursor);
    scan->hops++;
    gather_begin(r);
    p->call.primary = true; /* whose table the cursor is about */
    call_send(x, &p->call);
    gather_end(x, r);
}

static void read_options(struct scan *scan, const struct exec_input *in)
{
    scan->count = COUNT_DEFAULT;
    scan->n_options = in->argc - 2;
    for (size_t i = 2; i < in->argc; i++) {
        int64_t n;
        if (slice_is(in->argv[i], "count") && i + 1 < in->argc &&
            num_parse_i64(in->argv[i + 1], &n) && n > 0) {
            scan->count = n;
        }
        str_printf(&scan->options, "$%zu\r\n", in->argv[i].len);
        str_append_slice(&scan->options, in->argv[i]);
        str_appendz(&scan->options, "\r\n");
    }
}

/* As Redis takes cursors (strtoul): a negative one is a large number, and behind that is nothing.
 */
static bool parse_cursor(struct slice text, uint64_t *out)
{
    if (text.len > 1 && text.ptr[0] == '-') {
        bool good = num_parse_u64(slice_of(text.ptr + 1, text.len - 1), out);
        *out = *out == 0 ? 0 : UINT64_MAX;
        return good;
    }
    return num_parse_u64(text, out);
}

/* No cursor of ours leads there: the walk is over. */
static enum exec_verdict nothing_behind(struct exec *x, struct session *s, const struct command *c)
{
    struct outbuf o = {0};
    struct request *r = request_take(x, s, c);
    struct resp_writer w = {.out = &o, .proto = r->proto};
    resp_array(&w, 2);
    resp_bulkz(&w, "0");
    resp_array(&w, 0);
    request_reply_out(x, r, &o);
    return EXEC_TAKEN;
}

enum exec_verdict exec_scan(struct exec *x, struct session *s, const struct command *c,
                            const struct exec_input *in)
{
    uint64_t cursor;
    if (!parse_cursor(in->argv[1], &cursor)) {
        return exec_refuse(x, s, c, "ERR invalid cursor");
    }
    if (scan_shard(x, cursor) < 0) {
        return nothing_behind(x, s, c);
    }
    struct request *r = request_take(x, s, c);
    struct gather *g = gather_new(r, GATHER_SCAN);
    g->scan = mem_zalloc(sizeof(*g->scan));
    g->scan->cursor = cursor;
    read_options(g->scan, in);
    x->counters.requests_all++;
    hop(x, r);
    return EXEC_TAKEN;
}

/* "*2 $n cursor *m items": takes the items, moves the cursor. False: something else came. */
static bool take_page(struct scan *scan, const struct part *p)
{
    struct resp_skip skip;
    size_t end = 0;
    const char *at = p->reply;
    const char *last = p->reply + p->reply_len;
    if (p->reply_len < 4 || memcmp(at, "*2\r\n", 4) != 0) {
        return false;
    }
    at += 4;
    resp_skip_init(&skip);
    if (resp_skip(&skip, slice_of(at, (size_t)(last - at)), &end) != SKIP_OK || *at != '$') {
        return false;
    }
    const char *digits = memchr(at, '\n', end);
    if (digits == NULL || digits + 3 > at + end ||
        !num_parse_u64(slice_of(digits + 1, (size_t)(at + end - 2 - digits - 1)), &scan->cursor)) {
        return false;
    }
    at += end;
    const char *eol = memchr(at, '\r', (size_t)(last - at));
    int64_t n;
    if (*at != '*' || eol == NULL || !num_parse_i64(slice_of(at + 1, (size_t)(eol - at - 1)), &n)) {
        return false;
    }
    scan->gathered += n;
    if (eol + 2 < last) {
        outbuf_append_from(&scan->items, p->reply_chunk, eol + 2, (size_t)(last - eol - 2));
    }
    return true;
}

void scan_answered(struct exec *x, struct request *r)
{
    struct gather *g = r->gather;
    struct scan *scan = g->scan;
    const struct part *p = g->parts[0];
    if (*p->reply == '-' || !take_page(scan, p)) {
        request_reply(x, r, p->reply_chunk, p->reply, p->reply_len);
        return;
    }
    gather_drop_replies(g);
    if (scan->cursor != 0 && scan->gathered < scan->count && scan->hops < SCAN_HOPS &&
        scan_shard(x, scan->cursor) >= 0) {
        hop(x, r);
        return;
    }
    struct outbuf o = {0};
    struct resp_writer w = {.out = &o, .proto = r->proto};
    char number[NUM_I64_MAX_LEN];
    resp_array(&w, 2);
    resp_bulk(&w, slice_of(number, num_print_u64(number, scan->cursor)));
    resp_array(&w, (size_t)scan->gathered);
    outbuf_splice(&o, &scan->items);
    request_reply_out(x, r, &o);
}
