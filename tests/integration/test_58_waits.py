"""What waits and what is pushed, through the proxy: exactly once, over failovers and moves."""
import select
import threading
import time

import pytest
from support.cluster import Cluster
from support.wait import PATIENCE, wait_until
from support.wire import Error, Wire, encode


@pytest.fixture
def cluster():
    made = Cluster(min_nodes=3, shards=16, lease="1s", workers=2)
    for name in "ABC":
        made.start_node(name)
    made.wait_even()
    made.wait_whole()
    return made


def info(cluster, field):
    with cluster.proxy.wire(limit=20) as wire:
        for line in wire.command("INFO").decode().splitlines():
            if line.startswith(field + ":"):
                return int(line.split(":")[1])
    return None


def wait_blocked(cluster, count):
    wait_until(lambda: info(cluster, "blocked_clients") == count, 20, f"{count} clients to wait")


def test_an_element_wakes_one_client_and_the_others_wait_on(cluster):
    waiting = [cluster.proxy.wire(limit=30) for _ in range(5)]
    victim = waiting[2].command("CLIENT", "ID")
    for number, wire in enumerate(waiting):
        wire.send(encode("BLPOP", "list", "0"))
        wait_blocked(cluster, number + 1)
    with cluster.proxy.wire() as wire:
        assert wire.command("RPUSH", "list", "a", "b") in (1, 2)
        assert waiting[0].reply() == [b"list", b"a"]  # who asked first is served first
        assert waiting[1].reply() == [b"list", b"b"]
        wait_blocked(cluster, 3)
        rows = [row for row in wire.command("CLIENT", "LIST").decode().splitlines() if " flags=b " in row]
        assert len(rows) == 3
        assert wire.command("CLIENT", "UNBLOCK", victim, "ERROR") == 1
        assert wire.command("CLIENT", "UNBLOCK", victim) == 0
        assert waiting[2].reply().startswith("UNBLOCKED")
    waiting[4].close()  # a client that goes takes nothing along
    wait_blocked(cluster, 1)
    with cluster.proxy.wire() as wire:
        wire.command("RPUSH", "list", "c", "d")
        wait_until(lambda: wire.command("LLEN", "list") == 1)


def test_waiting_goes_on_over_a_failover(cluster):
    keys = cluster.keys_of("A", 5)
    waiting = {}
    for key in keys:
        wire = waiting[key] = cluster.proxy.wire(limit=60)
        wire.send(encode("BLPOP", key, "0"))
    late = cluster.proxy.wire(limit=60)
    spread = [*cluster.keys_of("A", 2, "spread"), *cluster.keys_of("B", 1, "spread")]
    late.send(encode("BRPOP", *spread, "0"))
    wait_blocked(cluster, 6)
    cluster.nodes["A"].kill()
    wait_until(lambda: cluster.state("A") == "dead", 20)
    with cluster.proxy.wire(limit=60) as wire:
        for key in keys:
            wait_until(lambda: not isinstance(wire.command("EXISTS", key), Error), 30)
        wait_blocked(cluster, 6)
        for key in keys:
            assert wire.command("RPUSH", key, "x") == 1
            assert waiting[key].reply() == [key.encode(), b"x"]
        assert wire.command("RPUSH", spread[1], "y") == 1
        assert late.reply() == [spread[1].encode(), b"y"]
        assert [wire.command("LLEN", key) for key in [*keys, *spread]] == [0] * 8


class Consumers:
    """Clients that take elements from lists in several shards, and note each."""

    def __init__(self, port, keys, count, words):
        self.port, self.keys, self.words = port, keys, words
        self.taken, self.errors = [], []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        with Wire(self.port, limit=60) as wire:
            while not self.stop.is_set():
                reply = wire.command(self.words, *self.keys, "0.5")
                if isinstance(reply, Error):
                    self.errors.append(reply)
                elif reply is not None:
                    self.taken.append(reply[1])

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("spread", [False, True])
def test_each_element_is_taken_once_while_a_node_dies(cluster, spread):
    keys = [name for node in "ABC" for name in cluster.keys_of(node, 1, "q")] if spread else ["{q}1", "{q}2"]
    consumers = Consumers(cluster.proxy.port, keys, 6, "BLPOP")
    pushed, unknown = set(), set()
    with cluster.proxy.wire(limit=60) as wire:
        for number in range(1500):
            if number == 500:
                cluster.nodes["A"].kill()
            element = f"e{number}".encode()
            reply = wire.command("RPUSH", keys[number % len(keys)], element)
            (unknown if isinstance(reply, Error) else pushed).add(element)
        wait_until(lambda: all(wire.command("LLEN", key) == 0 for key in keys), 60, "all to be taken")
    consumers.end()
    assert len(consumers.taken) == len(set(consumers.taken)), "an element was taken twice"
    lost = pushed - set(consumers.taken)
    # A take whose lane broke may be of unknown outcome: then its client was told so.
    assert len(lost) <= len(consumers.errors), (lost, consumers.errors)
    assert not set(consumers.taken) - pushed - unknown


def test_subscribers_hear_on_behind_a_failover(cluster):
    keys = cluster.keys_of("A", 3, "news")
    with cluster.proxy.wire(limit=60) as ear, cluster.proxy.wire(limit=60) as wire:
        ear.send(encode("SUBSCRIBE", *keys))
        for number, key in enumerate(keys):
            assert ear.reply() == [b"subscribe", key.encode(), number + 1]
        ear.send(encode("PSUBSCRIBE", "news:*"))
        assert ear.reply() == [b"psubscribe", b"news:*", 4]
        assert wire.command("PUBLISH", keys[0], "1") == 2
        assert {tuple(ear.reply()), tuple(ear.reply())} == {
            (b"message", keys[0].encode(), b"1"),
            (b"pmessage", b"news:*", keys[0].encode(), b"1"),
        }
        cluster.nodes["A"].kill()
        wait_until(lambda: cluster.state("A") == "dead", 20)
        for key in keys:
            wait_until(lambda: not isinstance(wire.command("EXISTS", key), Error), 30)
            assert wire.command("PUBLISH", key, "2") == 2
            assert {tuple(ear.reply()), tuple(ear.reply())} == {
                (b"message", key.encode(), b"2"),
                (b"pmessage", b"news:*", key.encode(), b"2"),
            }


@pytest.mark.parametrize("spread", [False, True], ids=["one shard", "several"])
def test_who_waits_hears_at_once_what_has_changed(cluster, spread):
    lists = [*cluster.keys_of("A", 1, "list"), *(cluster.keys_of("B", 1, "list") if spread else [])]
    read = cluster.keys_of("A", 1, "read") + cluster.keys_of("C", 1, "read")
    with cluster.proxy.wire(limit=20) as waiter, cluster.proxy.wire(limit=20) as writer:
        waiter.command("HELLO", "3")
        assert waiter.command("CLIENT", "TRACKING", "ON") == b"OK"
        for key in read:
            assert waiter.command("GET", key) is None
        waiter.send(encode("BLPOP", *lists, "0"))
        wait_blocked(cluster, 1)
        for key in read:
            assert writer.command("SET", key, "new") == b"OK"
            assert waiter.reply() == [b"invalidate", [key.encode()]]
        assert writer.command("RPUSH", lists[-1], "element") == 1
        assert waiter.reply() == [lists[-1].encode(), b"element"]


def test_a_cache_is_told_of_every_change_over_a_failover(cluster):
    keys = cluster.keys_of("A", 20, "c")
    cache, everything = {}, []
    with cluster.proxy.wire(limit=60) as reader, cluster.proxy.wire(limit=60) as writer:
        reader.command("HELLO", "3")
        assert reader.command("CLIENT", "TRACKING", "ON") == b"OK"

        def read(key):
            """Reads one key; what is pushed before its reply counts."""
            reader.send(encode("GET", key))
            while True:
                reply = reader.reply()
                if not (isinstance(reply, list) and reply and reply[0] == b"invalidate"):
                    cache[key] = reply
                    return
                if reply[1] is None:
                    everything.append(time.monotonic())
                    cache.clear()
                else:
                    for name in reply[1]:
                        cache.pop(name.decode(), None)

        for key in keys:
            assert writer.command("SET", key, "old") == b"OK"
            read(key)
        cluster.nodes["A"].kill()
        wait_until(lambda: cluster.state("A") == "dead", 20)
        for key in keys:
            wait_until(lambda: writer.command("SET", key, "new") == b"OK", 30)

        def is_told():
            read("{nothing}")
            return everything or not cache.keys() & set(keys)

        wait_until(is_told, 20, "the cache to be told of all that has changed")
        read(keys[0])
        assert cache[keys[0]] == b"new"


def test_streams_of_several_shards_are_read_and_waited_for_as_one(cluster):
    streams = ["one", "two", "three", "four"]
    with cluster.proxy.wire(limit=30) as wire, cluster.proxy.wire(limit=30) as writer:
        assert wire.command("XREAD", "STREAMS", *streams, *["0"] * 4) is None
        assert wire.command("XREAD", "BLOCK", "10", "STREAMS", *streams, *["$"] * 4) is None
        for number, name in enumerate(streams[:3], 1):
            writer.command("XADD", name, f"{number}-1", "f", "v")
        expected = {name.encode(): f"{number}-1".encode() for number, name in enumerate(streams[:3], 1)}
        for block in ([], ["BLOCK", "0"]):
            reply = wire.command("XREAD", "COUNT", "5", *block, "STREAMS", *streams, *["0"] * 4)
            assert {name: entries[0][0] for name, entries in reply} == expected
        # $ means what was there when it began to wait, wherever that is looked for again.
        wire.send(encode("XREAD", "BLOCK", "0", "STREAMS", *streams, *["$"] * 4))
        wait_blocked(cluster, 1)
        writer.command("XADD", "three", "3-2", "f", "w")
        assert wire.reply() == [[b"three", [[b"3-2", [b"f", b"w"]]]]]
        for wrong in ("x", "-1"):
            assert isinstance(wire.command("XREAD", "BLOCK", wrong, "STREAMS", *streams, *["$"] * 4), Error)
            assert isinstance(wire.command("BLPOP", *streams, wrong), Error)


def test_reading_streams_of_several_shards_goes_on_over_a_failover(cluster):
    streams = [cluster.keys_of(node, 1, "stream")[0] for node in "ABC"]
    with cluster.proxy.wire(limit=60) as wire, cluster.proxy.wire(limit=60) as writer:
        wire.command("HELLO", "3")
        writer.command("XADD", streams[0], "1-1", "f", "old")
        wire.send(encode("XREAD", "BLOCK", "0", "STREAMS", *streams, *["$"] * 3))
        wait_blocked(cluster, 1)
        cluster.nodes["A"].kill()
        wait_until(lambda: cluster.state("A") == "dead", 20)
        wait_until(lambda: writer.command("XLEN", streams[0]) == 1, 30)
        assert writer.command("XADD", streams[0], "2-1", "f", "new") == b"2-1"
        assert wire.reply() == {streams[0].encode(): [[b"2-1", [b"f", b"new"]]]}


def test_a_group_reads_streams_of_several_shards(cluster):
    streams = ["one", "two", "three", "four"]
    new = [">"] * 4
    with cluster.proxy.wire(limit=30) as wire, cluster.proxy.wire(limit=30) as writer:
        for name in streams[:3]:
            assert writer.command("XGROUP", "CREATE", name, "g", "0", "MKSTREAM") == b"OK"
            writer.command("XADD", name, "1-1", "f", "v")
        # One stream has no such group: nobody gives anything out.
        refused = wire.command("XREADGROUP", "GROUP", "g", "c", "STREAMS", *streams, *new)
        assert isinstance(refused, Error) and refused.startswith("NOGROUP No such key 'four' or consumer group 'g' in XREADGROUP")
        assert [writer.command("XPENDING", name, "g")[0] for name in streams[:3]] == [0, 0, 0]
        for wrong in (["GROUP", "g", "c", "STREAMS", *streams[:3], "$", ">", ">"], ["GROUP", "g", "c", "STREAMS", *streams[:3], ">", ">"]):
            assert isinstance(wire.command("XREADGROUP", *wrong), Error)
        assert [writer.command("XPENDING", name, "g")[0] for name in streams[:3]] == [0, 0, 0]
        writer.command("XGROUP", "CREATE", "four", "g", "0", "MKSTREAM")

        reply = wire.command("XREADGROUP", "GROUP", "g", "c", "COUNT", "5", "STREAMS", *streams, *new)
        assert {name: entries[0][0] for name, entries in reply} == {name.encode(): b"1-1" for name in streams[:3]}
        assert wire.command("XREADGROUP", "GROUP", "g", "c", "STREAMS", *streams, *new) is None
        assert wire.command("XREADGROUP", "GROUP", "g", "c", "BLOCK", "10", "STREAMS", *streams, *new) is None
        # What it has of before, and of one stream what is new.
        reply = wire.command("XREADGROUP", "GROUP", "g", "c", "STREAMS", *streams, "0", "0", "0", ">")
        assert {name: [entry[0] for entry in entries] for name, entries in reply} == {name.encode(): [b"1-1"] for name in streams[:3]}

        with cluster.proxy.wire(limit=30) as other:
            for reader, consumer in ((wire, "c"), (other, "d")):
                reader.send(encode("XREADGROUP", "GROUP", "g", consumer, "BLOCK", "0", "STREAMS", *streams, *new))
            wait_blocked(cluster, 2)
            # The second only when one has the first: else that one may be in time for both.
            writer.command("XADD", "four", "2-1", "f", "w")
            ready, _, _ = select.select([wire.socket, other.socket], [], [], 30 * PATIENCE)
            first, second = (wire, other) if wire.socket in ready else (other, wire)
            assert first.reply() == [[b"four", [[b"2-1", [b"f", b"w"]]]]]
            writer.command("XADD", "two", "2-1", "f", "w")
            assert second.reply() == [[b"two", [[b"2-1", [b"f", b"w"]]]]]
        wait_blocked(cluster, 0)


def test_consumers_of_several_shards_get_each_entry_once_over_a_failover(cluster):
    streams = [cluster.keys_of(node, 1, "stream")[0] for node in "ABC"]
    each, seen, troubles = 150, [], []
    with cluster.proxy.wire(limit=60) as writer:
        for name in streams:
            writer.command("XGROUP", "CREATE", name, "g", "0", "MKSTREAM")

        def consume(consumer):
            with cluster.proxy.wire(limit=120) as wire:
                while True:
                    reply = wire.command("XREADGROUP", "GROUP", "g", consumer, "COUNT", "3", "BLOCK", "0", "STREAMS", *streams, *[">"] * 3)
                    if isinstance(reply, Error):
                        troubles.append(reply)
                        continue
                    entries = [(name, entry[1][1]) for name, some in reply for entry in some]
                    seen.extend(entries)
                    if any(value == b"end" for _, value in entries):
                        return

        threads = [threading.Thread(target=consume, args=(f"c{number}",), daemon=True) for number in range(3)]
        for thread in threads:
            thread.start()
        for number in range(each):
            if number == each // 3:
                cluster.nodes["A"].kill()
            for name in streams:
                assert not isinstance(writer.command("XADD", name, "*", "n", number), Error)
        def whole():
            left = [writer.command("XPENDING", name, "g")[0] for name in streams]
            return left == [each] * 3

        wait_until(whole, 30, "all entries to be given out")
        for thread in threads:
            while thread.is_alive():
                writer.command("XADD", streams[2], "*", "n", "end")
                thread.join(0.2)
    # A long answer that a dying node had not sent can't be had again: its entries are the consumer's
    # then, in the group's list of what is pending, and it was told so.
    assert all(trouble.startswith("UNKNOWNOUTCOME") for trouble in troubles)
    mine = [entry for entry in seen if entry[1] != b"end"]
    assert len(mine) == len(set(mine))
    assert len(mine) >= 3 * each - 3 * 3 * len(troubles)


def test_who_waits_is_told_of_no_wrong_type_after_a_failover(cluster):
    keys = cluster.keys_of("A", 3, "key")
    other = cluster.keys_of("B", 1, "key")[0]
    asks = [["BLPOP", keys[0], "0"], ["BZPOPMIN", keys[1], "60"], ["BRPOP", keys[2], other, "0"]]
    waiting = [cluster.proxy.wire(limit=60) for _ in asks]
    with cluster.proxy.wire(limit=60) as wire:
        for number, ask in enumerate(asks, 1):
            waiting[number - 1].send(encode(*ask))
            wait_blocked(cluster, number)
        for key in keys:
            assert wire.command("SET", key, "a string") == b"OK"
        cluster.nodes["A"].kill()
        wait_until(lambda: cluster.state("A") == "dead", 20)
        wait_until(lambda: [wire.command("STRLEN", key) for key in keys] == [8] * 3, 30)
        wait_blocked(cluster, 3)
        # Whoever comes now is told.
        assert wire.command("BLPOP", keys[0], "0").startswith("WRONGTYPE")
        assert wire.command("BRPOP", other, keys[2], "1").startswith("WRONGTYPE")
        wire.command("DEL", *keys)
        assert wire.command("RPUSH", keys[0], "v") in (0, 1)
        wire.command("ZADD", keys[1], "1", "m")
        wire.command("RPUSH", keys[2], "w")
        assert waiting[0].reply() == [keys[0].encode(), b"v"]
        assert waiting[1].reply() == [keys[1].encode(), b"m", b"1"]
        assert waiting[2].reply() == [keys[2].encode(), b"w"]
    for one in waiting:
        one.close()
