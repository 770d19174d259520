"""Values of very many elements: they are copied, saved and freed bit by bit, while they change."""
import os
import shutil
import threading

import pytest
from support.cluster import Cluster, words
from support.process import temp_dir
from support.programs import Node, RedisServer
from support.wait import PATIENCE, wait_until
from support.wire import Error, Wire, encode

from test_70_replication import wait_in_sync

ELEMENTS = 150_000
STRING = 24 << 20
# One go over any of these values takes several times as long; a slice takes a few milliseconds, unoptimised.
TURN_CPU_US = 60_000 * PATIENCE


def commands():
    """What makes the values, in batches of words."""
    for first in range(0, ELEMENTS, 500):
        numbers = range(first, first + 500)
        yield ["SADD", "large:set", *(f"member:{i}" for i in numbers)]
        yield ["HSET", "large:hash", *(word for i in numbers for word in (f"field:{i}", f"value {i}"))]
        yield ["ZADD", "large:zset", *(word for i in numbers for word in (str(i % 1000), f"member:{i}"))]
        yield ["RPUSH", "large:list", *(f"an element {i}" for i in numbers)]
        for i in range(first, first + 500, 10):
            yield ["XADD", "large:stream", f"{i + 1}-0", "field", f"value {i}", "another", "one"]
    yield ["SETRANGE", "large:string", STRING, "end"]


def fill(wire):
    sent = 0
    for command in commands():
        wire.send(encode(*command))
        sent += 1
        if sent % 64 == 0:
            for _ in range(64):
                assert not isinstance(wire.reply(), Error)
    for _ in range(sent % 64):
        assert not isinstance(wire.reply(), Error)


class Changes:
    """One client that changes all of the values all the time."""

    def __init__(self, port):
        self.port, self.stop_now, self.rounds, self.wrong = port, threading.Event(), 0, []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def round(self, i):
        other = (i * 7919) % ELEMENTS
        return [
            ("SADD", "large:set", f"new:{i}"),
            ("SREM", "large:set", f"member:{other}"),
            ("HINCRBY", "large:hash", "count", 1),
            ("HSET", "large:hash", f"field:{other}", f"changed {i}"),
            ("HDEL", "large:hash", f"field:{ELEMENTS - 1 - other}"),
            ("ZINCRBY", "large:zset", 1, "the one that counts"),
            ("ZADD", "large:zset", i, f"member:{other}"),
            ("ZREMRANGEBYRANK", "large:zset", 10, 10),
            ("LPUSH", "large:list", f"left {i}"),
            ("RPOP", "large:list"),
            ("LSET", "large:list", other // 2, f"set {i}"),
            ("XADD", "large:stream", "*", "round", i),
            ("XTRIM", "large:stream", "MAXLEN", ELEMENTS // 10 - i % 50),
            ("SETRANGE", "large:string", (other * 131) % STRING, f"<{i}>"),
            ("INCR", "count"),
        ]

    def run(self):
        try:
            with Wire(self.port, limit=60) as wire:
                while not self.stop_now.is_set():
                    batch = self.round(self.rounds)
                    for command in batch:
                        wire.send(encode(*command))
                    for command in batch:
                        reply = wire.reply()
                        if isinstance(reply, Error):
                            self.wrong.append((command, str(reply)))
                    self.rounds += 1
        except Exception as error:  # told below: an exception in a thread is told to nobody
            self.wrong.append(repr(error))

    def goes_on(self, rounds=20):
        target = self.rounds + rounds
        wait_until(lambda: self.rounds > target or self.wrong, 60, "changes to go on")

    def stop(self):
        self.stop_now.set()
        self.thread.join()
        assert self.wrong == []
        return self.rounds


def equal(cluster):
    found = {}
    for node in cluster.nodes.values():
        with node.wire(limit=60) as wire:
            for line in wire.command("DEBUG", "DIGEST-SHARDS"):
                row = words(line.decode())
                found.setdefault(row["shard"], []).append((row["keys"], row["digest"]))
    assert found and all(len(copies) == len(cluster.nodes) for copies in found.values()), found
    return {shard: copies for shard, copies in found.items() if len(set(copies)) > 1}


def test_they_are_copied_while_they_change():
    cluster = Cluster(min_nodes=1, shards=4, lease="2s")
    cluster.start_node("A", enable_debug_command="yes", repl_backlog_size="2mb")
    cluster.wait_served()
    with cluster.proxy.wire(limit=60) as wire:
        fill(wire)
    changes = Changes(cluster.proxy.port)
    try:
        changes.goes_on()
        cluster.start_node("B", enable_debug_command="yes", repl_backlog_size="2mb")
        wait_in_sync(cluster, 120)
        changes.goes_on()
    finally:
        rounds = changes.stop()
    wait_until(lambda: equal(cluster) == {}, 30, "the copies to be equal")
    with cluster.proxy.wire(limit=30) as wire:
        assert int(wire.command("HGET", "large:hash", "count")) == rounds
        assert float(wire.command("ZSCORE", "large:zset", "the one that counts")) == rounds
        assert int(wire.command("GET", "count")) == rounds
        assert wire.command("LLEN", "large:list") == ELEMENTS
    source, target = (cluster.nodes[name].info("replication") for name in "AB")
    assert int(source["repl_copy_portraits"]) >= 4, source
    assert int(target["repl_copies_taken"]) >= 2, target
    assert int(source["repl_copy_turn_cpu_us_max"]) < TURN_CPU_US, source
    assert int(target["repl_copy_turn_cpu_us_max"]) < TURN_CPU_US, target


def wait_saved(r):
    wait_until(lambda: r.info("persistence")["rdb_bgsave_in_progress"] == 0, 60, "the save to end")


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_they_are_saved_while_they_change(appendonly):
    """Snapshots (with a log) are as of the restart, dump.rdb (without) as of when the save began."""
    node = Node(stand_alone="yes", appendonly=appendonly, enable_debug_command="yes", save="").ready()
    with node.wire(limit=60) as wire:
        fill(wire)
        before = wire.command("DEBUG", "DIGEST")
    changes = Changes(node.port)
    try:
        changes.goes_on()
        if appendonly == "no":
            # Nothing changes at the moment at which it begins.
            changes.stop()
            with node.wire(limit=60) as wire:
                before = wire.command("DEBUG", "DIGEST")
                assert not isinstance(wire.command("BGSAVE"), Error)
            changes = Changes(node.port)
        else:
            node.r.execute_command("BGREWRITEAOF")
        changes.goes_on()
        wait_saved(node.r)
        changes.goes_on()
    finally:
        changes.stop()
    if appendonly == "yes":
        with node.wire(limit=60) as wire:
            before = wire.command("DEBUG", "DIGEST")
    node.kill()
    node.start()
    node.ready()
    with node.wire(limit=60) as wire:
        assert wire.command("DEBUG", "DIGEST") == before
    if appendonly == "no":
        same_for_redis(node)


def same_for_redis(node):
    directory = temp_dir("redis")
    shutil.copy(os.path.join(node.dir, "dump.rdb"), directory)
    redis = RedisServer(dir=directory).ready()
    ours, theirs = (server.client(socket_timeout=60) for server in (node, redis))
    for read in (
        lambda r: r.smembers("large:set"),
        lambda r: r.hgetall("large:hash"),
        lambda r: r.zrange("large:zset", 0, -1, withscores=True),
        lambda r: r.lrange("large:list", 0, -1),
        lambda r: r.xrange("large:stream"),
        lambda r: r.strlen("large:string"),
        lambda r: r.getrange("large:string", 0, 100_000),
    ):
        assert read(ours) == read(theirs)


def test_they_are_freed_bit_by_bit():
    node = Node(stand_alone="yes", save="").ready()
    with node.wire(limit=60) as wire:
        empty = int(node.info("memory")["used_memory"])
        fill(wire)
        for key in ("set", "hash", "zset", "list", "stream", "string"):
            assert wire.command("UNLINK" if key != "hash" else "DEL", f"large:{key}") == 1
        wait_until(lambda: int(node.info("memory")["lazyfree_pending_objects"]) == 0, 30, "all to be freed")
        fill(wire)
        assert wire.command("FLUSHALL", "ASYNC") == b"OK"
        wait_until(lambda: int(node.info("memory")["lazyfree_pending_objects"]) == 0, 30, "all to be freed")
        assert int(node.info("memory")["used_memory"]) < empty + (8 << 20)
