"""What became of a lane's writes: SHOAL FATE asks a shard's log, wherever its primary is now."""
import pytest
from support.cluster import Cluster, words
from support.wait import wait_until
from support.wire import Error, encode

from test_70_replication import wait_in_sync

SHARDS = 8
LANE = 4711000001


@pytest.fixture
def pair():
    made = Cluster(min_nodes=2, shards=SHARDS, lease="1s")
    for name in "AB":
        made.start_node(name, enable_debug_command="yes")
    made.wait_even()
    wait_in_sync(made)
    return made


def shard_of(wire, key):
    return wire.command("CLUSTER", "KEYSLOT", key) * SHARDS // 16384


def use_lane(node, key, lane=LANE):
    """A lane's commands to one shard of this node; returns the connection and what the log is to say."""
    wire = node.wire(limit=10)
    assert wire.command("SHOAL", "LANE", lane) == 16
    assert wire.command("SET", key, 1) == b"OK"
    assert wire.command("INCR", key) == 2
    assert wire.command("GET", key) == b"2"
    assert wire.command("SETNX", key, 7) == 0
    assert isinstance(wire.command("SET", key), Error)  # refused: not executed, in no log
    assert isinstance(wire.command("INCRBY", key, "x"), Error)
    assert wire.command("SETRANGE", key, 100, "x") == 101
    assert len(wire.command("GETDEL", key)) == 101  # too long to be kept
    assert wire.command("MULTI") == b"OK"
    assert wire.command("SET", key, 5) == b"QUEUED"
    assert wire.command("EXEC") == [b"OK"]
    wrong = b"-ERR value is not an integer or out of range\r\n"
    return wire, [1, b"+OK\r\n", 2, b":2\r\n", 4, b":0\r\n", 6, wrong, 7, b":101\r\n", 8, None, 11, b"*1\r\n+OK\r\n"]


def fate(wire, key, start=1, age_ms=1000, lane=LANE):
    return wire.command("SHOAL", "FATE", lane, shard_of(wire, key), start, age_ms)


def test_the_log_tells_what_was_done_and_the_lane_ends(pair):
    key = pair.keys_of("A", 1)[0]
    lane, told = use_lane(pair.nodes["A"], key)
    with pair.nodes["A"].wire(limit=10) as other, pair.nodes["B"].wire(limit=10) as replica:
        assert str(fate(replica, key)).startswith("MOVED")
        assert lane.command("PING") == b"PONG"
        assert fate(other, key) == [1, told]
        assert lane.is_closed()
        assert fate(other, key, start=5) == [1, told[6:]]
        assert fate(other, key, start=12) == [1, []]
        assert fate(other, key, lane=LANE + 1) == [1, []]
        # Neither of them comes back, though one never was here.
        for number in LANE, LANE + 1:
            with pair.nodes["A"].wire(limit=10) as again:
                assert isinstance(again.command("SHOAL", "LANE", number), Error)
        assert isinstance(other.command("SHOAL", "FATE", LANE, SHARDS, 1, 1), Error)
        assert isinstance(other.command("SHOAL", "FATE", LANE, 0, 1, -1), Error)


def test_the_next_primary_knows_it_too(pair):
    key = pair.keys_of("A", 1)[0]
    _, told = use_lane(pair.nodes["A"], key)
    pair.nodes["A"].kill()
    with pair.nodes["B"].wire(limit=10) as wire:
        wait_until(lambda: isinstance(fate(wire, key), list), 20, "B to serve the shard")
        assert fate(wire, key) == [1, told]
        assert wire.command("GET", key) == b"5"


def row_of(wire, shard):
    rows = [words(line) for line in wire.command("SHOAL", "SHARDS").decode().splitlines()]
    return next(row for row in rows if int(row["shard"]) == shard)


def test_an_answer_waits_for_what_it_tells(pair):
    key = pair.keys_of("A", 1)[0]
    lane, told = use_lane(pair.nodes["A"], key)
    with pair.nodes["A"].wire(limit=20) as other:
        shard = shard_of(other, key)
        before = int(row_of(other, shard)["version"])
        pair.nodes["B"].pause()
        try:
            lane.send(encode("SET", key, 6))  # executed, and waits for B
            wait_until(lambda: int(row_of(other, shard)["version"]) > before)
            assert fate(other, key) == [1, told + [12, b"+OK\r\n"]]
            row = row_of(other, shard)
            assert row["commit"] == row["version"], "it was told before it was safe"
        finally:
            pair.nodes["B"].resume()
