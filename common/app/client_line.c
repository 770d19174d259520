// SPDX-License-Identifier: BSD-3-Clause
#include "common/app/client_line.h"

#include "common/cmd/command.h"
#include "common/io/stream.h"

void client_line(const struct client_line *l, struct str *to)
{
    const struct stream *st = l->stream;
    char peer[64];
    char local[64];
    stream_peer(st, peer, sizeof(peer));
    stream_local(st, local, sizeof(local));
    size_t in = stream_in_memory(st);
    size_t out = st->out.bytes == 0 ? 0 : stream_out_memory(st);
    str_printf(to, "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s",
               (unsigned long long)l->id, peer, local, st->fd, l->name == NULL ? "" : l->name,
               (long long)((l->now_ms - l->since_ms) / 1000),
               (long long)((l->now_ms - st->active_us / 1000) / 1000),
               l->flags[0] == '\0' ? "N" : l->flags);
    str_printf(to,
               " db=%d sub=%u psub=%u ssub=%u multi=%d qbuf=%zu qbuf-free=%zu argv-mem=%zu "
               "multi-mem=%zu rbs=%d rbp=%d obl=0 oll=%u omem=%zu tot-mem=%zu events=%s cmd=%s "
               "user=%.*s redir=%lld resp=%d\n",
               l->db, l->channels, l->patterns, l->shard_channels, l->queued, l->unread,
               in > l->unread ? in - l->unread : 0, l->argv_bytes, l->queue_bytes, OUTBUF_CHUNK,
               OUTBUF_CHUNK, st->out.count, out, l->memory, l->replying ? "rw" : "r",
               l->last == NULL ? "NULL" : l->last->full_name, (int)l->user.len, l->user.ptr,
               (long long)l->redirect, l->proto);
}
