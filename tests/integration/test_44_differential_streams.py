"""Random commands on streams and HyperLogLogs, sent to a node and to Redis's own server: every reply must be the
same, what is in the keys afterwards, and what either dumps the other restores.

Ids are given, not made from the clock; what tells a time is not compared."""
import pytest
from support import differential
from support.differential import Talk, same_errors

BATCH = 250


class Streams(Talk):
    def __init__(self, seed):
        super().__init__(seed)
        self.makers = [(22, self.adds), (8, self.trims), (12, self.reads), (10, self.groups), (24, self.shares), (8, self.tells), (2, self.others)]
        self.ms = 1

    def key(self):
        return self.pick("a", "a", "b", "c", "{t}1", "{t}2")

    def group(self):
        return self.pick("g", "g", "g", "h", "12", "none")

    def consumer(self):
        return self.pick("alice", "bob", "carol", "7", "")

    def id(self):
        if self.rng.random() < 0.06:
            return self.pick("x", "1-x", "-", "+", "1-2-3", "", "18446744073709551615-18446744073709551615", "0", "0-0", "(5", "01-02", "5-*",
                             "18446744073709551616", "-1", " 1", "+1-1", "$", ">")
        ms = max(self.ms - self.rng.randrange(30), 0)
        return self.pick(str(ms), f"{ms}-{self.rng.randrange(4)}", f"{ms}-0")

    def bound(self):
        return self.pick("-", "+", self.id(), self.id(), "(" + self.id())

    def fields(self):
        if self.rng.random() < 0.6:
            return ["name", self.value(), "age", self.rng.randrange(300)]
        return [self.pick("name", "f", "123", -7, "", "x" * 70) if i % 2 == 0 else self.value() for i in range(2 * self.rng.randrange(1, 5))]

    def trim(self):
        return self.pick(
            ["MAXLEN", self.rng.randrange(30)], ["MAXLEN", "=", self.rng.randrange(30)], ["MAXLEN", "~", self.rng.randrange(30)],
            ["MINID", self.id()], ["MINID", "~", self.id()], ["MINID", "=", self.id()], ["MAXLEN", "~", 3, "LIMIT", self.pick(0, 1, 5, 20, -1, "x")],
            ["MAXLEN", 3, "LIMIT", 5], ["LIMIT", 5], ["MAXLEN", "~"], ["MAXLEN", -1], ["MAXLEN", "x"], ["MAXLEN", 3, "MINID", 3], ["BAD"], [],
        )

    def adds(self):
        k = self.key()
        self.ms += self.rng.randrange(3)
        new = self.pick(f"{self.ms}-*", f"{self.ms}-*", f"{self.ms}-{self.rng.randrange(4)}", str(self.ms), self.id())
        trim = self.trim() if self.rng.random() < 0.25 else []
        option = ["NOMKSTREAM"] if self.rng.random() < 0.1 else []
        if self.rng.random() < 0.02:
            return ["XADD", k, new] + self.pick([], ["odd"], ["a", 1, "b"])
        return ["XADD", k] + option + trim + [new] + self.fields()

    def trims(self):
        k = self.key()
        return self.pick(
            ["XTRIM", k] + self.trim(), ["XDEL", k] + self.some(self.id), ["XDEL", k] + self.some(self.id),
            ["XSETID", k, self.pick(self.ms, self.id())]
            + self.options(["ENTRIESADDED", self.pick(0, 5, 100, -1, "x")], ["MAXDELETEDID", self.id()], ["BAD"]),
        )

    def reads(self):
        k = self.key()
        count = self.options(["COUNT", self.pick(0, 1, 3, 10, -1, "x")])
        keys = self.some(self.key)
        return self.pick(
            ["XLEN", k], ["XRANGE", k, self.bound(), self.bound()] + count, ["XRANGE", k, "-", "+"] + count,
            ["XREVRANGE", k, self.bound(), self.bound()] + count, ["XREVRANGE", k, "+", "-"] + count, ["XRANGE", k, "-", "+", "BAD"],
            ["XREAD"] + count + ["STREAMS"] + keys + [self.pick(self.id(), self.id(), "$", ">") for _ in keys],
            ["XREAD"] + count + ["STREAMS"] + keys + [self.id() for _ in keys],
            ["XREAD"] + self.pick(["STREAMS", "a", "b", 1], ["COUNT"], ["BLOCK", -1, "STREAMS", "a", 0], ["BLOCK", "x", "STREAMS", "a", 0],
                                  ["GROUP", "g", "c", "STREAMS", "a", 0], ["NOACK", "STREAMS", "a", 0], ["BLOCK", 1, "STREAMS", "a", "$"]),
        )

    def groups(self):
        k, g, c = self.key(), self.group(), self.consumer()
        read = self.options(["ENTRIESREAD", self.pick(0, 3, -1, -2, 100, "x")])
        return self.pick(
            ["XGROUP", "CREATE", k, g, self.pick("0", "$", self.id())] + read, ["XGROUP", "CREATE", k, g, "0", "MKSTREAM"] + read,
            ["XGROUP", "CREATE", k, g, "0"], ["XGROUP", "CREATE", k, g, "$"],
            ["XGROUP", "SETID", k, g, self.pick("0", "$", self.id())] + read,
            ["XGROUP", "DESTROY", k, g] if self.rng.random() < 0.2 else ["XGROUP", "CREATE", k, "g", "0"],
            ["XGROUP", "CREATECONSUMER", k, g, c],
            ["XGROUP", "DELCONSUMER", k, g, c] if self.rng.random() < 0.4 else ["XGROUP", "CREATE", k, "h", "0", "BAD"],
            ["XGROUP", self.pick("BAD", "CREATE", "SETID", "DESTROY"), k], ["XGROUP", "CREATE", k, g, "0", "MKSTREAM", "MKSTREAM"],
        )

    def shares(self):
        k, g, c = self.key(), self.group(), self.consumer()
        count = self.options(["COUNT", self.pick(0, 1, 2, 5, -1)])
        noack = ["NOACK"] if self.rng.random() < 0.1 else []
        keys = self.pick([k], [k], self.some(self.key))
        claims = self.options(["IDLE", self.pick(0, 1000, "x", -5)], ["TIME", self.pick(1, 10**12, "x")], ["RETRYCOUNT", self.pick(0, 7, -1, "x")],
                              ["FORCE"], ["JUSTID"], ["LASTID", self.id()], ["BAD"] if self.rng.random() < 0.1 else [])
        return self.pick(
            ["XREADGROUP", "GROUP", g, c] + count + noack + ["STREAMS"] + keys + [">"] * len(keys),
            ["XREADGROUP", "GROUP", "g", c] + count + ["STREAMS", k, ">"], ["XREADGROUP", "GROUP", "g", c] + count + ["STREAMS", k, ">"],
            ["XREADGROUP", "GROUP", g, c] + count + noack + ["STREAMS"] + keys + [self.pick(">", "0", self.id(), "$") for _ in keys],
            ["XREADGROUP"] + self.pick(["GROUP", "g"], ["STREAMS", "a", ">"], ["COUNT", 1, "STREAMS", "a", ">"], ["GROUP", "g", "c", "STREAMS", "a", "b", ">"]),
            ["XACK", k, g] + self.some(self.id), ["XACK", k, "g"] + self.some(self.id),
            ["XPENDING", k, g], ["XPENDING", k, g, self.bound(), self.bound(), self.pick(10, 3, 0, -1, "x")],
            ["XPENDING", k, g, "-", "+", 10, c], ["XPENDING", k, g, "IDLE", self.pick(0, 10**9, "x"), "-", "+", 10] + self.pick([], [c]),
            ["XPENDING", k, g, "-", "+"], ["XPENDING", k, g, "-"],
            ["XCLAIM", k, g, c, self.pick(0, 0, 10**9, -1, "x")] + self.some(self.id, 5) + claims,
            ["XCLAIM", k, "g", c, 0] + self.some(self.id, 5) + claims,
            ["XAUTOCLAIM", k, g, c, self.pick(0, 0, 10**9, "x"), self.bound()] + count + self.options(["JUSTID"], ["BAD"] if self.rng.random() < 0.1 else []),
            ["XAUTOCLAIM", k, "g", c, 0, "-"] + count,
        )

    def tells(self):
        k = self.key()
        return self.pick(
            ["XINFO", "STREAM", k], ["XINFO", "STREAM", k, "FULL"] + self.options(["COUNT", self.pick(0, 1, 5, -1, "x")]), ["XINFO", "GROUPS", k],
            ["XINFO", "CONSUMERS", k, self.group()], ["XINFO", "STREAM", k, "BAD"], ["XINFO", "BAD", k], ["XINFO", "STREAM", k, "FULL", "COUNT"],
            ["OBJECT", "ENCODING", k], ["TYPE", k], ["XINFO", "CONSUMERS", k],
        )

    def others(self):
        k = self.key()
        return self.pick(["SET", "c", 1], ["DEL", k], ["RENAME", k, self.key()], ["COPY", k, self.key(), "REPLACE"], ["GET", k], ["XADD", "c", "*"])


class Counters(Talk):
    def __init__(self, seed):
        super().__init__(seed)
        self.makers = [(20, self.adds), (10, self.asks), (4, self.spoils)]

    def key(self):
        return self.pick("a", "b", "c", "d", "{t}1", "{t}2")

    def element(self):
        return self.pick(self.value(), self.rng.randrange(100000), "e%d" % self.rng.randrange(10**9))

    def adds(self):
        k = self.key()
        many = [self.rng.randrange(10**9) for _ in range(self.pick(0, 3, 50, 400))]
        return self.pick(["PFADD", k] + self.some(self.element, 6), ["PFADD", k] + many, ["PFADD", k], ["PFADD", k] + many)

    def asks(self):
        k = self.key()
        return self.pick(
            ["PFCOUNT", k], ["PFCOUNT"] + self.some(self.key, 4), ["PFMERGE", k] + self.some(self.key), ["PFMERGE", k], ["GET", k], ["GET", k],
            ["PFDEBUG", "ENCODING", k], ["PFDEBUG", "DECODE", k], ["PFDEBUG", "TODENSE", k] if self.rng.random() < 0.2 else ["STRLEN", k],
            ["PFDEBUG", "GETREG", k] if self.rng.random() < 0.2 else ["STRLEN", k], ["PFDEBUG", "BAD", k], ["OBJECT", "ENCODING", k],
        )

    def spoils(self):
        k = self.key()
        return self.pick(
            ["SET", k, self.value()], ["SETRANGE", k, self.rng.randrange(8), self.value()], ["APPEND", k, self.pick("hello", "\x05")], ["DEL", k],
            ["DEL", k], ["RENAME", k, self.key()], ["COPY", k, self.key(), "REPLACE"], ["XADD", "d", "1-1", "a", "b"], ["GET", k],
        )


TIMES = {b"idle", b"seen-time", b"radix-tree-nodes"}


def timeless(reply):
    """Without what tells a time, in XINFO and XPENDING."""
    if isinstance(reply, dict):
        reply = [part for pair in reply.items() for part in pair]
    if not isinstance(reply, list):
        return reply
    plain = [timeless(part) for part in reply]
    for i, part in enumerate(plain):
        if isinstance(part, bytes) and part in TIMES and i + 1 < len(plain):
            plain[i + 1] = None
    if len(plain) in (3, 4) and isinstance(plain[-1], int) and isinstance(plain[-2], int) and isinstance(plain[0], bytes):
        plain[-2] = None
    return plain


def same(command, ours, theirs):
    errors = same_errors(ours, theirs)
    if errors is not None:
        return errors
    if str(command[0]).upper() in ("XINFO", "XPENDING"):
        ours, theirs = timeless(ours), timeless(theirs)
    return ours == theirs and type(ours) is type(theirs)


def value(wire, key):
    kind = wire.command("TYPE", key)
    if kind == b"stream":
        return kind, timeless(wire.command("XINFO", "STREAM", key, "FULL", "COUNT", 0)), timeless(wire.command("XINFO", "GROUPS", key))
    return kind, wire.command("GET", key), wire.command("OBJECT", "ENCODING", key)


@pytest.fixture(scope="module")
def pair():
    yield from differential.start_pair(theirs={"sanitize_dump_payload": "yes"})


def configure(wire, round_):
    wire.command("CONFIG", "SET", "stream-node-max-entries", 100 if round_ % 3 else 4)
    wire.command("CONFIG", "SET", "stream-node-max-bytes", 4096 if round_ % 4 else 120)
    wire.command("CONFIG", "SET", "hll-sparse-max-bytes", 3000 if round_ % 2 else 100)


def speak(wires, talk, history):
    for _ in range(6):
        differential.converse(wires, talk, BATCH, history, same)
    differential.compare_keys(wires, value, lambda what: what[:2])


@pytest.mark.parametrize("talker", [Streams, Counters])
@pytest.mark.parametrize("proto", [2, 3])
def test_a_node_answers_as_redis_does(pair, proto, talker):
    differential.talk_to_both(pair, proto, talker, differential.rounds(8), configure, speak)
