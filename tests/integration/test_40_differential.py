"""Random commands, sent to a node and to Redis's own server: every reply must be the same.

Replies are compared as values. What depends on the moment (times to live) may differ by a second,
and what has no order (KEYS, SCAN) is sorted."""
import random
import time

import pytest
from support import differential
from support.differential import SEED, Talk
from support.wire import Error, encode

BATCH = 120


class Strings(Talk):
    """Strings, keys, times to live, transactions."""

    def __init__(self, seed):
        super().__init__(seed)
        self.now = int(time.time())
        self.makers = [
            (30, self.strings),
            (10, self.numbers),
            (12, self.parts),
            (22, self.bits),
            (14, self.expiry),
            (14, self.keys),
            (8, self.sessions),
            (2, self.nonsense),
        ]

    def key(self):
        return self.pick("a", "b", "c", "d", "e", "{t}1", "{t}2", "", "long" * 20, b"bin\x00\xff")

    def time_option(self):
        return self.pick(
            ["EX", self.pick(1000, 100000, 0, -1, 2**62, "x")],
            ["PX", self.pick(1000000, 0, -5, 2**63 - 1)],
            ["EXAT", self.pick(self.now + 5000, self.now - 50, 0, -1, 2**62)],
            ["PXAT", self.pick((self.now + 5000) * 1000, 1, 0, 2**63 - 1)],
            ["EX"],
        )

    def strings(self):
        k, v = self.key(), self.value()
        return self.pick(
            ["GET", k], ["GET", k], ["SET", k, v], ["SET", k, v], ["SET", k, v],
            ["SET", k, v] + self.options(["NX"], ["XX"], ["GET"], ["KEEPTTL"], self.time_option()),
            ["SET", k, v] + self.options(["nx"], ["get"], self.time_option()),
            ["SETNX", k, v], ["GETSET", k, v], ["GETDEL", k], ["STRLEN", k],
            ["GETEX", k] + self.options(["PERSIST"], self.time_option()),
            ["SETEX", k, self.pick(1000, 0, -1, "x", 2**62), v], ["PSETEX", k, self.pick(10**6, 0, 2**63 - 1), v],
            ["MGET"] + self.some(self.key), ["MSET"] + [x for _ in range(2) for x in (self.key(), self.value())],
            ["MSETNX"] + [x for _ in range(self.pick(1, 2)) for x in (self.key(), self.value())],
            ["MSET", k, v, k], ["MSETNX", k, v, k],
        )

    def numbers(self):
        k = self.key()
        return self.pick(
            ["INCR", k], ["DECR", k], ["INCRBY", k, self.integer()], ["DECRBY", k, self.integer()],
            ["INCRBYFLOAT", k, self.pick(self.integer(), "1.5", "-0.25", "1e10", "nan", "inf", "3.0e3", "abc", "0.1")],
            ["SET", k, self.rng.randrange(-100, 100)], ["OBJECT", "ENCODING", k], ["GET", k],
        )

    def parts(self):
        k = self.key()
        return self.pick(
            ["APPEND", k, self.value()], ["SETRANGE", k, self.pick(0, 1, 5, 60, 300, 3000, -1, 2**29, 2**62, "x"), self.value()],
            ["GETRANGE", k, self.integer(), self.integer()], ["SUBSTR", k, self.integer(), self.integer()],
            ["OBJECT", "ENCODING", k], ["GET", k], ["STRLEN", k],
            ["SETRANGE", k, self.rng.randrange(80), "xyz"], ["APPEND", k, "x" * self.rng.randrange(40)],
            ["SET", k, "".join(self.rng.choices("abc", k=self.rng.randrange(25)))],
            ["LCS", self.pick("a", "b", "c"), self.pick("a", "b", "c")]
            + self.options(["LEN"], ["IDX"], ["WITHMATCHLEN"], ["MINMATCHLEN", self.pick(0, 1, 2, 3, -1, "x")]),
        )

    def bit_unit(self):
        return self.pick([], [], ["BIT"], ["BYTE"], ["bit"], ["nibble"])

    def field(self):
        kind = self.pick("i", "u", "u", "i", "x") + str(self.pick(1, 2, 3, 7, 8, 16, 31, 32, 63, 64, 65, 0))
        at = self.pick("", "#") + str(self.pick(0, 1, 2, 7, 8, 13, 40, 100, 1000, -1, "x", 2**40))
        return self.pick(
            ["GET", kind, at], ["SET", kind, at, self.integer(lowest=-(2**62))], ["INCRBY", kind, at, self.integer()],
            ["INCRBY", "u8", "#1", self.rng.randrange(-300, 300)], ["SET", "i5", 3, self.rng.randrange(-40, 40)],
            ["INCRBY", "i64", 0, self.pick(2**63 - 1, -(2**63), 1)],
            ["OVERFLOW", self.pick("WRAP", "SAT", "FAIL", "sat", "BAD"), "INCRBY", "i8", 5, self.rng.randrange(-200, 200)],
            ["OVERFLOW", self.pick("WRAP", "SAT", "FAIL")],
        )

    def bits(self):
        k = self.key()
        range_ = self.pick([], [self.integer()], [self.integer(), self.integer()] + self.bit_unit())
        fields = [word for field in self.some(self.field) for word in field]
        return self.pick(
            ["SETBIT", k, self.rng.randrange(700), self.pick(0, 1)],
            ["SETBIT", k, self.pick(0, 7, 8, 100, 5000, 20000, -1, 2**32, 2**40, "x"), self.pick(0, 1, 1, 2, "x")],
            ["GETBIT", k, self.pick(0, 7, 8, 100, 5000, -1, 2**40, "x")],
            ["BITCOUNT", k] + range_, ["BITPOS", k, self.pick(0, 1, 0, 1, 2, "x")] + range_,
            ["BITOP", self.pick("AND", "OR", "XOR", "NOT", "nand", "and"), k] + self.some(self.key),
            ["BITFIELD", k] + fields, ["BITFIELD", k] + fields, ["BITFIELD_RO", k] + fields,
            ["BITFIELD_RO", k, "GET", "u8", self.rng.randrange(100)],
        )

    def expiry(self):
        k = self.key()
        flags = self.options(["NX"], ["XX"], ["GT"], ["LT"], ["BAD"]) if self.rng.random() < 0.5 else []
        at = self.now + self.pick(1000, 2000, 3000, -10)
        return self.pick(
            ["EXPIRE", k, self.pick(1000, 2000, 0, -1, 2**62, "x")] + flags,
            ["PEXPIRE", k, self.pick(10**6, 2 * 10**6, 0, -5, 2**63 - 1)] + flags,
            ["EXPIREAT", k, at] + flags, ["PEXPIREAT", k, at * 1000] + flags, ["EXPIREAT", k, self.pick(0, -1, 2**62)],
            ["TTL", k], ["PTTL", k], ["EXPIRETIME", k], ["PEXPIRETIME", k], ["PERSIST", k], ["TTL", k], ["EXPIRETIME", k],
        )

    def keys(self):
        k = self.key()
        return self.pick(
            ["DEL"] + self.some(self.key), ["UNLINK"] + self.some(self.key), ["EXISTS"] + self.some(self.key),
            ["TOUCH"] + self.some(self.key), ["TYPE", k], ["RENAME", k, self.key()], ["RENAMENX", k, self.key()],
            ["COPY", k, self.key()] + self.options(["REPLACE"], ["DB", self.pick(0, 1, 1, 99, -1, "x", 2**40)], ["BAD"]),
            ["MOVE", k, self.pick(0, 1, 1, 99, -1, "x", 2**40)], ["KEYS", self.pick("*", "a*", "[a-c]", "?", "\\a", "{t}*", "")],
            ["OBJECT", "ENCODING", k], ["OBJECT", "FREQ", k], ["OBJECT", "IDLETIME", k],
            ["SCAN", self.pick(0, "x", "1x", " 1", ""), "COUNT", self.pick(1000, 0, -1, "x")], ["SCAN", 0, "COUNT", 1000, "TYPE", self.pick("string", "list", "bogus")],
            ["SCAN", 0, "COUNT", 1000, "MATCH", self.pick("a*", "*", "{t}?")], ["SCAN", 0, "BAD", 1], ["SCAN", 0, "COUNT"],
        )

    def sessions(self):
        return self.pick(
            ["SELECT", self.pick(0, 0, 0, 1, 1, 99, -1, "x", 2**40)], ["MULTI"], ["EXEC"], ["EXEC"], ["DISCARD"],
            ["WATCH"] + self.some(self.key), ["UNWATCH"], ["MULTI", "x"],
            ["SWAPDB", self.pick(0, 1), self.pick(1, 0, 99, "x", -1)] if self.rng.random() < 0.3 else ["EXEC"],
            ["FLUSHDB"] + self.pick([], ["SYNC"], ["ASYNC"], ["BAD"]) if self.rng.random() < 0.15 else ["EXEC"],
            ["FLUSHALL"] + self.pick([], ["SYNC"], ["ASYNC"], ["BAD"]) if self.rng.random() < 0.1 else ["EXEC"],
        )

    def nonsense(self):
        return self.pick(["NOSUCHCOMMAND", "a", "b"], ["GET"], ["GET", "a", "b"], ["SET", "a"], ["OBJECT", "BOGUS", "a"], ["INCR"])


UNORDERED = {"KEYS", "SCAN"}
TIMES = {"TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"}


def canonical(reply):
    """Lists sorted, all the way down."""
    if isinstance(reply, list):
        return sorted((canonical(item) for item in reply), key=repr)
    if isinstance(reply, int) and reply > 10**8:
        return 0  # part of a time in a transaction
    return reply


def same(command, ours, theirs, in_exec):
    name = str(command[0]).upper()
    if ours == theirs and type(ours) is type(theirs):
        return True
    if isinstance(ours, Error) != isinstance(theirs, Error):
        return False
    if isinstance(ours, Error) and name not in ("EXEC",):
        return False
    if name in UNORDERED:
        return canonical(ours) == canonical(theirs)
    if name in TIMES:
        return abs(ours - theirs) <= 2000
    if name == "OBJECT":  # IDLETIME: Redis shares small numbers between keys, and their clock too
        return isinstance(ours, int) and isinstance(theirs, int)
    if name == "EXEC" and isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return len(in_exec) == len(ours) and all(same(c, a, b, []) for c, a, b in zip(in_exec, ours, theirs))
    return False


class Queue:
    """What EXEC will run, as far as the replies tell."""

    def __init__(self):
        self.commands = []

    def note(self, command, reply):
        """Returns the commands of the EXEC that this reply is of."""
        name = str(command[0]).upper()
        done = []
        if reply == b"QUEUED":
            self.commands.append(command)
        elif name in ("EXEC", "DISCARD", "MULTI"):
            done, self.commands = self.commands, [] if name != "MULTI" else self.commands
        return done


def everything(wire):
    """All keys of databases 0 and 1 with what is known of them, and when each expires."""
    found, times = {}, {}
    wire.command("DISCARD")
    for db in (0, 1):
        wire.command("SELECT", db)
        for key in sorted(wire.command("KEYS", "*")):
            if wire.command("EXISTS", key):
                found[db, key] = (wire.command("GET", key), wire.command("OBJECT", "ENCODING", key))
                times[db, key] = wire.command("PEXPIRETIME", key)
    return found, times


@pytest.fixture(scope="module")
def pair():
    yield from differential.start_pair()


@pytest.mark.parametrize("proto", [2, 3])
def test_a_node_answers_as_redis_does(pair, proto):
    for round_ in range(differential.rounds(25)):
        seed = SEED * 1000 + round_ * 10 + proto
        talk = Strings(seed)
        print(f"seed {seed}")
        clients = [[server.wire() for server in pair] for _ in range(2)]
        queues = [Queue(), Queue()]
        try:
            for wires in clients:
                for wire in wires:
                    wire.command("HELLO", proto)
                    wire.command("FLUSHALL")
            history = []
            for _ in range(6):
                for wires, queue in zip(clients, queues):

                    def agree(command, ours, theirs, queue=queue):
                        return same(command, ours, theirs, queue.note(command, theirs))

                    count = BATCH if talk.rng.random() < 0.5 else 7
                    differential.converse(wires, talk, count, history, agree)
            (ours, our_times), (theirs, their_times) = [everything(wire) for wire in clients[0]]
            assert ours == theirs
            for key, at in our_times.items():
                assert abs(at - their_times[key]) <= 3000, key
        finally:
            for wires in clients:
                for wire in wires:
                    wire.close()


def test_a_scan_sees_every_key_that_stays(pair):
    """While others come and go."""
    ours = pair[0]
    rng = random.Random(SEED)
    with ours.wire() as wire:
        wire.command("FLUSHALL")
        stay = {b"stay:%d" % i for i in range(3000)}
        for key in stay:
            wire.send(encode("SET", key, 1))
        for _ in stay:
            wire.reply()
        cursor, seen, others = b"0", set(), 0
        while True:
            cursor, keys = wire.command("SCAN", cursor, "COUNT", rng.choice([1, 10, 100]))
            seen.update(keys)
            if cursor == b"0":
                break
            for _ in range(60):
                wire.send(encode("SET", f"go:{others}", 1) if others < 20000 else encode("DEL", f"go:{others - 20000}"))
                others += 1
            for _ in range(60):
                wire.reply()
        assert stay <= seen
        wire.command("FLUSHALL")
