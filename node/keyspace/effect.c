// SPDX-License-Identifier: BSD-3-Clause
#include "node/keyspace/effect.h"

#include "node/keyspace/watch.h"

void keyspace_changed(const struct db *db, const struct probe *p, struct slice key)
{
    db->ks->shards[p->shard]->version++;
    db->ks->stats.dirty++;
    watch_touch(db, p, key);
}

void keyspace_expired(const struct db *db, const struct probe *p, struct slice key)
{
    db->ks->stats.expired_keys++;
    keyspace_changed(db, p, key);
}
