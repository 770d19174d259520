"""Random commands on lists and hashes, and SORT, sent to a node and to Redis's own server: every reply must be the
same, what is in the keys afterwards, and what either dumps the other restores; with small and large nodes, compressed
ones too.

What chance decides is compared by its form only; what has no order is sorted."""
import struct

import pytest
from support import differential
from support.differential import Talk, same_errors
from support.wire import Error, encode

BATCH = 200

# list-max-listpack-size, list-compress-depth, quicklist-packed-threshold, hash-max-listpack-entries and -value
SETTINGS = [(-2, 0, 0, 128, 64), (3, 0, 0, 10, 64), (-1, 1, 0, 128, 8), (5, 2, 60, 512, 64), (1, 0, 0, 0, 64)]


class Lists(Talk):
    def __init__(self, seed):
        super().__init__(seed)
        self.makers = [(20, self.adds), (16, self.asks), (10, self.takes), (6, self.moves), (3, self.others)]

    def key(self):
        return self.pick("a", "b", "c", "{t}1", "{t}2", "a", "b", "string")

    def element(self):
        kind = self.rng.random()
        if kind < 0.45:
            return self.rng.randrange(-5, 25)
        if kind < 0.55:
            return self.pick(127, 128, -4096, 4095, 4096, 32767, -32769, 2**23 - 1, -(2**23) - 1, 2**31, 2**63 - 1, -(2**63), 2**63, "01", "-0", "")
        if kind < 0.95:
            return self.pick("a", "b", "c", "d") * self.rng.randrange(1, 12)
        return self.pick("x", "y") * self.pick(62, 63, 64, 65, 3000, 4095, 4096, 9000)

    def index(self):
        if self.rng.random() < 0.9:
            return self.rng.randrange(-30, 30)
        return self.pick(10**6, -(10**6), "x", 2**63 - 1, -(2**63), 2**63, "")

    def end(self):
        return self.pick("LEFT", "RIGHT", "left", "right", "right", "left", "up" if self.rng.random() < 0.1 else "LEFT")

    def adds(self):
        k = self.key()
        push = self.pick("LPUSH", "RPUSH")
        if self.rng.random() < 0.06:
            return [push, k] + [self.element() for _ in range(self.rng.randrange(50, 300))]
        return self.pick(
            [push, k] + self.some(self.element, 6), [push, k] + self.some(self.element, 6), [push + "X", k] + self.some(self.element),
            ["LINSERT", k, self.pick("BEFORE", "AFTER", "after", "near"), self.element(), self.element()],
            ["LINSERT", k, "BEFORE", self.element(), self.element()], ["LSET", k, self.index(), self.element()], [push, k],
        )

    def asks(self):
        k = self.key()
        return self.pick(
            ["LLEN", k], ["LINDEX", k, self.index()], ["LRANGE", k, self.index(), self.index()], ["LRANGE", k, 0, -1],
            ["LPOS", k, self.element()] + self.options(["RANK", self.index()], ["COUNT", self.pick(0, 1, 3, -1, "x")],
                                                       ["MAXLEN", self.pick(0, 1, 10, 1000, -1, "x")], ["RANK"]),
            ["OBJECT", "ENCODING", k], ["TYPE", k], ["SORT", k] + self.sorting(), ["SORT_RO", k] + self.sorting(),
        )

    def sorting(self):
        return self.options(["ALPHA"], ["DESC"], ["LIMIT", self.rng.randrange(-2, 5), self.rng.randrange(-2, 6)], ["BY", "nosort"],
                            ["GET", "#"], ["GET", "string"], ["STORE", "{t}2"], ["LIMIT", 1], ["ASC"])

    def takes(self):
        k = self.key()
        n = self.rng.randrange(1, 4)
        keys = [self.key() for _ in range(n)]
        return self.pick(
            ["LPOP", k], ["RPOP", k], [self.pick("LPOP", "RPOP"), k, self.pick(0, 1, 2, 5, 100, -1, "x")],
            ["LREM", k, self.pick(0, 1, -1, 2, -3, "x", -(2**63)), self.element()], ["LREM", k, 0, self.element()],
            ["LTRIM", k, self.rng.randrange(0, 3), -self.rng.randrange(1, 4)], ["LTRIM", k, self.index(), self.index()],
            ["LMPOP", self.pick(n, n, n, 0, 9, "x")] + keys + [self.end()] + self.options(["COUNT", self.pick(1, 2, 50, 0, "x")], ["COUNT"]),
        )

    def moves(self):
        return self.pick(
            ["LMOVE", self.key(), self.key(), self.end(), self.end()], ["RPOPLPUSH", self.key(), self.key()],
            ["COPY", self.pick("a", "b"), self.pick("c", "{t}1"), "REPLACE"], ["RENAME", self.pick("a", "b"), self.pick("b", "c")],
        )

    def others(self):
        k = self.pick("a", "b", "c", "{t}1", "{t}2")
        return self.pick(["DEL", k], ["EXISTS", k], ["APPEND", k, "x"], ["EXPIRE", k, 1000], ["PERSIST", k], ["GET", k])


class Hashes(Lists):
    def __init__(self, seed):
        super().__init__(seed)
        self.makers = [(24, self.sets), (20, self.gets), (8, self.counts), (3, self.others)]

    def field(self):
        return self.pick("f%d" % self.rng.randrange(40), self.rng.randrange(20), self.element())

    def pairs(self, most):
        return [word for _ in range(self.rng.randrange(1, most)) for word in (self.field(), self.element())]

    def sets(self):
        k = self.key()
        return self.pick(
            ["HSET", k] + self.pairs(4), ["HSET", k] + self.pairs(4), ["HMSET", k] + self.pairs(4), ["HSET", k] + self.pairs(60 if self.rng.random() < 0.2 else 3),
            ["HSETNX", k, self.field(), self.element()], ["HDEL", k] + self.some(self.field, 5), ["HSET", k, self.field()],
            ["HMSET", k] + self.pairs(3) + [1],
        )

    def gets(self):
        k = self.key()
        return self.pick(
            ["HGET", k, self.field()], ["HMGET", k] + self.some(self.field, 5), ["HEXISTS", k, self.field()], ["HSTRLEN", k, self.field()],
            ["HLEN", k], ["HGETALL", k], ["HKEYS", k], ["HVALS", k], ["OBJECT", "ENCODING", k],
            ["HSCAN", k, self.pick(0, 0, 0, "x", "")] + self.pick(["COUNT", 5000], ["COUNT", 5000, "MATCH", "f1*"], ["COUNT", 0], ["COUNT"], ["TYPE", "x"]),
            ["HRANDFIELD", k], ["HRANDFIELD", k] + self.pick([0], [5], [-5], [1000], [1000, "WITHVALUES"], [-3, "WITHVALUES"], ["x"], [1, "BAD"],
                                                            [2**63 - 1, "WITHVALUES"], [-(2**63)], [1, "WITHVALUES", 1]),
        )

    def counts(self):
        k = self.key()
        return self.pick(
            ["HINCRBY", k, self.field(), self.pick(1, -1, 100, "x", 2**63 - 1, -(2**63), "1.5")],
            ["HINCRBYFLOAT", k, self.field(), self.pick(1, -1, "1.5", "3.14159", "-0.001", "inf", "nan", "1e10", "x", " 1")],
        )


UNORDERED = {"HKEYS", "HVALS"}
BY_CHANCE = {"HRANDFIELD"}


def in_pairs(words):
    return sorted(zip(words[::2], words[1::2]), key=repr)


def same(command, ours, theirs):
    name = command[0]
    errors = same_errors(ours, theirs)
    if errors is not None:
        return errors
    if type(ours) is not type(theirs):
        return False
    if name in BY_CHANCE:
        return not isinstance(ours, list) or len(ours) == len(theirs)
    if name in UNORDERED:
        return sorted(ours) == sorted(theirs)
    if name == "HGETALL" and isinstance(ours, list):
        return in_pairs(ours) == in_pairs(theirs)
    if name == "HSCAN":
        return ours[0] == theirs[0] and in_pairs(ours[1]) == in_pairs(theirs[1])
    return ours == theirs


def value(wire, key):
    kind = wire.command("TYPE", key)
    how = wire.command("OBJECT", "ENCODING", key)
    if kind in (b"list", "list"):
        return kind, how, wire.command("LRANGE", key, 0, -1)
    if kind in (b"hash", "hash"):
        pairs = wire.command("HGETALL", key)
        return kind, how, sorted(pairs.items()) if isinstance(pairs, dict) else in_pairs(pairs)
    return kind, how, wire.command("GET", key)


def configure(wire, settings):
    size, depth, threshold, entries, longest = settings
    assert wire.command("CONFIG", "SET", "list-max-listpack-size", size, "list-compress-depth", depth, "hash-max-listpack-entries", entries,
                        "hash-max-listpack-value", longest) == b"OK"
    assert wire.command("DEBUG", "QUICKLIST-PACKED-THRESHOLD", threshold) == b"OK"


def prepare(wire, round_):
    wire.command("SET", "string", "v")
    configure(wire, SETTINGS[round_ % len(SETTINGS)])


def speak(wires, talk, history):
    for _ in range(5):
        differential.converse(wires, talk, BATCH, history, same)
        differential.compare_keys(wires, value, lambda what: (what[0], what[2]))


@pytest.fixture(scope="module")
def pair():
    debug = {"enable_debug_command": "yes"}
    yield from differential.start_pair(debug, debug)


@pytest.mark.parametrize("talker", [Lists, Hashes])
@pytest.mark.parametrize("proto", [2, 3])
def test_a_node_answers_as_redis_does(pair, proto, talker):
    differential.talk_to_both(
        pair, proto, talker, differential.rounds(8), prepare, speak, lambda wire: configure(wire, SETTINGS[0])
    )


def crc64(data):
    """Redis's: Jones's polynomial, reflected."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


def payload(kind, body, version=9):
    data = bytes([kind]) + body + struct.pack("<H", version)
    return data + struct.pack("<Q", crc64(data))


def string(data):
    return bytes([len(data)]) + data


ZIPLIST = b"\x17\0\0\0\x12\0\0\0\x04\0" + b"\0\x01a" + b"\x03\xf2" + b"\x02\x01b" + b"\x03\x02xy" + b"\xff"
ZIPMAP = b"\x02" + b"\x01a\x01\x001" + b"\x01b\x02\x01xy." + b"\xff"
OLD_FORMS = [
    (1, b"\x04" + b"".join(map(string, [b"a", b"1", b"b", b"xy"])), "list"),
    (10, string(ZIPLIST), "list"),
    (14, b"\x01" + string(ZIPLIST), "list"),
    (4, b"\x02" + b"".join(map(string, [b"a", b"1", b"b", b"xy"])), "hash"),
    (9, string(ZIPMAP), "hash"),
    (13, string(ZIPLIST), "hash"),
]


@pytest.mark.parametrize("kind,body,what", OLD_FORMS)
def test_forms_of_older_servers_are_restored(pair, kind, body, what):
    for server in pair:
        with server.wire() as wire:
            wire.command("FLUSHALL")
            assert wire.command("RESTORE", "k", 0, payload(kind, body)) == b"OK"
            got = wire.command("LRANGE", "k", 0, -1) if what == "list" else wire.command("HGETALL", "k")
            assert got == [b"a", b"1", b"b", b"xy"], server
            broken = payload(kind, body[: len(body) // 2])
            assert isinstance(wire.command("RESTORE", "k2", 0, broken), Error)


def test_a_walk_through_a_hash_sees_every_field_that_stays(pair):
    """While others come and go."""
    with pair[0].wire() as wire:
        wire.command("FLUSHALL")
        stay = {b"stay:%d" % i for i in range(3000)}
        wire.command("HSET", "h", *[word for field in stay for word in (field, 1)])
        cursor, seen, others = b"0", set(), 0
        while True:
            cursor, pairs = wire.command("HSCAN", "h", cursor, "COUNT", 20)
            seen.update(pairs[::2])
            if cursor == b"0":
                break
            for _ in range(60):
                wire.send(encode("HSET", "h", f"go:{others}", 1) if others < 15000 else encode("HDEL", "h", f"go:{others - 15000}"))
                others += 1
            for _ in range(60):
                wire.reply()
        assert stay <= seen
        wire.command("FLUSHALL")
