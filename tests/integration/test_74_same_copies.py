"""Whatever is done to keys, all copies of a shard are equal: every kind of write under way while nodes die,
come back and are copied to."""
import random
import threading

import pytest
from support.cluster import Cluster, words
from support.wait import wait_until
from support.wire import Error, Wire, encode

from test_70_replication import wait_in_sync

KEYS = 40


@pytest.fixture
def cluster():
    made = Cluster(min_nodes=3, shards=16, lease="1s")
    for name in "ABC":
        made.start_node(name, enable_debug_command="yes")
    made.wait_even()
    wait_in_sync(made)
    return made


def digests(cluster):
    """By shard: what each node that has it says of it."""
    found = {}
    for node in cluster.nodes.values():
        with node.wire(limit=5) as wire:
            for line in wire.command("DEBUG", "DIGEST-SHARDS"):
                row = words(line.decode())
                found.setdefault(row["shard"], []).append((row["keys"], row["digest"]))
    return found


def assert_equal_copies(cluster):
    wait_in_sync(cluster)

    def equal():
        told = digests(cluster)
        assert len(told) == 16 and all(len(copies) == 2 for copies in told.values()), told
        different = {shard: copies for shard, copies in told.items() if len(set(copies)) > 1}
        return not different or (False, different)  # keys that expire are on their way

    def really():
        got = equal()
        assert got is True, got
        return True

    wait_until(really, 10, "copies to be equal")


class Mix:
    """Commands of one client, on keys that hash together (tag) or anywhere."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.tag = self.rng.randrange(8)

    def key(self):
        return f"{{t{self.tag}}}:{self.rng.randrange(KEYS)}"

    def value(self):
        return self.rng.choice([str(self.rng.randrange(1000)), "v" * self.rng.randrange(1, 3000)])

    def ms(self):
        return self.rng.randrange(1, 800)

    def command(self):
        k, v = self.key, self.value
        return self.rng.choice(
            [
                lambda: ("SET", k(), v()),
                lambda: ("SET", k(), v(), "PX", self.ms()),
                lambda: ("SET", k(), v(), "NX", "EX", 1),
                lambda: ("SETEX", k(), 1, v()),
                lambda: ("MSET", k(), v(), k(), v(), f"any:{self.rng.randrange(KEYS)}", v()),
                lambda: ("MSETNX", k(), v(), k(), v()),
                lambda: ("INCR", f"{{t{self.tag}}}:n{self.rng.randrange(5)}"),
                lambda: ("INCRBYFLOAT", f"{{t{self.tag}}}:f{self.rng.randrange(5)}", "0.1"),
                lambda: ("APPEND", k(), v()),
                lambda: ("SETRANGE", k(), self.rng.randrange(100), v()),
                lambda: ("SETBIT", k(), self.rng.randrange(1000), 1),
                lambda: ("BITFIELD", k(), "INCRBY", "u8", "#3", 7),
                lambda: ("BITOP", "XOR", k(), k(), k()),
                lambda: ("GETDEL", k()),
                lambda: ("GETEX", k(), "PX", self.ms()),
                lambda: ("DEL", k(), k(), f"any:{self.rng.randrange(KEYS)}"),
                lambda: ("RENAME", k(), k()),
                lambda: ("COPY", k(), k(), "REPLACE"),
                lambda: ("PEXPIRE", k(), self.ms()),
                lambda: ("PERSIST", k()),
                lambda: ("GET", k()),
            ]
        )()


def transaction(mix, wire):
    commands = [("MULTI",)]
    count = mix.rng.randrange(1, 5)
    while len(commands) <= count:
        command = mix.command()
        if not any("any:" in str(word) for word in command):
            commands.append(command)
    commands.append(("EXEC",))
    for command in commands:
        wire.send(encode(*command))
    return commands, [wire.reply() for _ in commands]


def test_copies_are_equal_after_every_kind_of_write(cluster):
    stop = threading.Event()
    done = [0] * 4
    surprises = []

    def work(number):
        mix = Mix(number)
        try:
            with Wire(cluster.proxy.port, limit=60) as wire:
                while not stop.is_set():
                    if mix.rng.random() < 0.1:
                        batch, replies = transaction(mix, wire)
                    else:
                        batch = [mix.command() for _ in range(mix.rng.randrange(1, 8))]
                        for command in batch:
                            wire.send(encode(*command))
                        replies = [wire.reply() for _ in batch]
                    done[number] += len(replies)
                    for command, reply in zip(batch, replies):
                        known = ("WRONGTYPE", "ERR no such key", "ERR value is not", "ERR source and")
                        # Honest about a command of several shards that a failure came between.
                        known += ("UNKNOWNOUTCOME", "TRYAGAIN not executed")
                        if isinstance(reply, Error) and not str(reply).startswith(known):
                            surprises.append((command[:2], str(reply)))
        except Exception as error:  # told below: an exception in a thread is told to nobody
            surprises.append(repr(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(done))]
    for thread in threads:
        thread.start()

    def more():
        target = sum(done) + 3000
        wait_until(lambda: sum(done) > target or surprises, 30, "writes to go on")

    try:
        more()
        cluster.nodes["A"].kill()
        more()
        cluster.start_node("A", enable_debug_command="yes")
        more()
        wait_in_sync(cluster)  # else B has the only copy of some shards
        cluster.nodes["B"].pause()
        more()
        cluster.nodes["B"].resume()
        more()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert surprises == []
    assert_equal_copies(cluster)
    # And behind databases that were emptied or have changed places.
    cluster.proxy.r.flushdb()
    assert_equal_copies(cluster)
    assert all(copies[0][0] == "0" for copies in digests(cluster).values())


def test_debug_populate_fills_the_cluster_and_its_copies():
    cluster = Cluster(min_nodes=3, shards=16, lease="500ms", enable_debug_command="yes")
    for name in "ABC":
        cluster.start_node(name, enable_debug_command="yes", appendonly="yes")
    cluster.wait_even()
    wait_in_sync(cluster)
    with cluster.proxy.wire(limit=60) as wire:
        wire.command("SET", "key:7", "mine")
        assert wire.command("DEBUG", "POPULATE", "2000") == b"OK"
        assert wire.command("DEBUG", "POPULATE", "10", "other", "12") == b"OK"
        assert wire.command("DBSIZE") == 2010
        assert wire.command("MGET", "key:0", "key:7", "key:1999", "key:2000") == [b"value:0", b"mine", b"value:1999", None]
        assert wire.command("GET", "other:3") == b"value:3" + b"\0" * 5
        assert "must be positive" in wire.command("DEBUG", "POPULATE", "-1")
    assert_equal_copies(cluster)
