"""Random commands on sets and sorted sets, sent to a node and to Redis's own server: every reply must be the same,
what is in the keys afterwards, and what either dumps the other restores.

What chance decides is compared by its form only; what has no order is sorted."""
import os

import pytest
from support.programs import Node, RedisServer
from support.wire import Error, encode
from test_40_differential import Talk

SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
ROUNDS = int(os.environ.get("DIFFERENTIAL_ROUNDS", "20"))
BATCH = 200

UNORDERED = {"SMEMBERS", "SINTER", "SUNION", "SDIFF", "SSCAN", "SPOP", "ZSCAN"}
BY_CHANCE = {"SRANDMEMBER"}


class Sets(Talk):
    def __init__(self, seed):
        super().__init__(seed)
        self.makers = [(20, self.adds), (10, self.asks), (10, self.several), (3, self.others)]

    def key(self):
        return self.pick("a", "b", "c", "d", "e", "{t}1", "{t}2", "t")

    def member(self):
        kind = self.rng.random()
        if kind < 0.5:
            return self.rng.randrange(40)
        if kind < 0.6:
            return self.pick(-1, 2**15, -(2**15) - 1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63), 2**63, "01", "-0", "1.0", "")
        return self.pick("a", "b", "c", b"\x00\xff", "x" * 100, "y" * 254, "y" * 255, "z" * 3000, "m%d" % self.rng.randrange(30))

    def adds(self):
        k = self.key()
        if self.rng.random() < 0.03:
            return ["SADD", k] + list(range(self.rng.randrange(600)))
        return self.pick(
            ["SADD", k] + self.some(self.member, 6), ["SADD", k] + [self.rng.randrange(60) for _ in range(5)],
            ["SADD", k, self.member()], ["SREM", k] + self.some(self.member, 4), ["SMOVE", k, self.key(), self.member()],
            ["SPOP", k, self.pick(1000, 0, -1, "x", 2**62)] if self.rng.random() < 0.2 else ["SCARD", k],
        )

    def asks(self):
        k = self.key()
        return self.pick(
            ["SISMEMBER", k, self.member()], ["SMISMEMBER", k] + self.some(self.member), ["SCARD", k], ["SMEMBERS", k],
            ["OBJECT", "ENCODING", k], ["TYPE", k], ["SRANDMEMBER", k, self.pick(0, 3, 1000, -5, "x", -(2**63), 2**63)],
            ["SRANDMEMBER", k], ["SSCAN", k, self.pick(0, 0, "x", ""), "COUNT", self.pick(5000, 0, -1, "x")] if self.rng.random() < 0.5
            else ["SSCAN", k, 0, "COUNT", 5000, "MATCH", self.pick("*", "1*", "m*", "")], ["SSCAN", k, 0, "TYPE", "set"],
            ["SRANDMEMBER", k, 1, 2], ["SPOP", k, 1, 2], ["EXPIRE", k, 1000], ["TTL", k], ["SMEMBERS", k],
        )

    def several(self):
        keys = self.some(self.key, 4)
        return self.pick(
            ["SINTER"] + keys, ["SUNION"] + keys, ["SDIFF"] + keys, ["SINTERSTORE", self.key()] + keys,
            ["SUNIONSTORE", self.key()] + keys, ["SDIFFSTORE", self.key()] + keys,
            ["SINTERCARD", self.pick(len(keys), len(keys), 0, -1, 9, "x")] + keys
            + self.options(["LIMIT", self.pick(0, 1, 3, -1, "x")], ["LIMIT"], ["BAD", 1]),
        )

    def others(self):
        k = self.key()
        return self.pick(
            ["SET", "e", 1], ["DEL", k], ["RENAME", k, self.key()], ["COPY", k, self.key(), "REPLACE"], ["GET", k], ["INCR", k], ["PERSIST", k],
        )


class SortedSets(Sets):
    """With places among them."""

    def __init__(self, seed):
        super().__init__(seed)
        self.makers = [(20, self.scores), (10, self.ranges), (6, self.unions), (6, self.places), (2, self.others)]

    def score(self):
        if self.rng.random() < 0.3:
            return self.pick("inf", "-inf", "1.5", "-0", "1e17", "1e300", "nan", "x", "", 2**53 + 1, -(2**62), "0.1")
        return self.rng.randrange(-20, 40)

    def bound(self):
        return self.pick("-inf", "+inf", self.rng.randrange(40), "(%d" % self.rng.randrange(40), "(", "x", " 5")

    def scores(self):
        k = self.key()
        if self.rng.random() < 0.03:
            return ["ZADD", k] + [w for i in range(self.rng.randrange(1, 300)) for w in (self.rng.randrange(99), "m%d" % i)]
        return self.pick(
            ["ZADD", k] + self.options(["NX"], ["XX"], ["GT"], ["LT"], ["CH"]) + [self.score(), self.member()],
            ["ZADD", k, self.rng.randrange(30), self.member(), self.rng.randrange(30), self.member()],
            ["ZADD", k, "INCR", self.score(), self.member()], ["ZINCRBY", k, self.score(), self.member()],
            ["ZREM", k] + self.some(self.member), ["ZPOPMIN", k], ["ZPOPMAX", k, self.pick(2, 0, -1, "x")],
            ["ZREMRANGEBYSCORE", k, self.bound(), self.bound()], ["ZREMRANGEBYRANK", k, self.integer(), self.integer()],
            ["ZMPOP", 2, k, self.key(), self.pick("MIN", "MAX", "x"), "COUNT", self.pick(1, 2, 0)],
            ["BZPOPMIN", k, self.key(), "0.001"] if self.rng.random() < 0.2 else ["ZCARD", k],
        )

    def ranges(self):
        k = self.key()
        return self.pick(
            ["ZRANGE", k, self.integer(), self.integer()] + self.options(["REV"], ["WITHSCORES"], ["LIMIT", 0, 1]),
            ["ZRANGE", k, self.bound(), self.bound(), "BYSCORE"] + self.options(["REV"], ["WITHSCORES"], ["LIMIT", self.integer(), 3]),
            ["ZRANGEBYSCORE", k, self.bound(), self.bound(), "WITHSCORES"], ["ZREVRANGEBYSCORE", k, "+inf", self.bound()],
            ["ZCOUNT", k, self.bound(), self.bound()], ["ZRANK", k, self.member()], ["ZREVRANK", k, self.member()],
            ["ZSCORE", k, self.member()], ["ZMSCORE", k] + self.some(self.member), ["ZSCAN", k, 0, "COUNT", 5000],
            ["ZRANGESTORE", self.key(), k, self.integer(), self.integer()], ["OBJECT", "ENCODING", k],
        )

    def unions(self):
        keys = self.some(self.key, 3)
        words = self.options(["WEIGHTS"] + [self.score() for _ in keys], ["AGGREGATE", self.pick("SUM", "MIN", "MAX", "x")])
        return self.pick(
            ["ZUNION", len(keys)] + keys + words + ["WITHSCORES"], ["ZINTER", len(keys)] + keys + words,
            ["ZDIFF", len(keys)] + keys + ["WITHSCORES"], ["ZUNIONSTORE", self.key(), len(keys)] + keys + words,
            ["ZINTERSTORE", self.key(), len(keys)] + keys + words, ["ZDIFFSTORE", self.key(), len(keys)] + keys,
            ["ZINTERCARD", len(keys)] + keys + self.options(["LIMIT", self.pick(0, 2, -1)]),
        )

    def places(self):
        k, lon, lat = self.key(), self.rng.randrange(-179, 180), self.rng.randrange(-85, 86)
        how = self.options(["ASC"], ["DESC"], ["COUNT", 3], ["ANY"], ["WITHDIST"], ["WITHCOORD"], ["WITHHASH"])
        return self.pick(
            ["GEOADD", k, lon, lat, self.member()], ["GEOADD", k, lon, lat, self.member(), lon / 2, lat / 2, self.member()],
            ["GEOPOS", k] + self.some(self.member), ["GEOHASH", k, self.member()], ["GEODIST", k, self.member(), self.member(), "km"],
            ["GEOSEARCH", k, "FROMLONLAT", lon, lat, "BYRADIUS", self.pick(100, 3000, 9000), "km"] + how,
            ["GEOSEARCH", k, "FROMMEMBER", self.member(), "BYBOX", 4000, self.pick(100, 9000), "km"] + how,
            ["GEORADIUS", k, lon, lat, 4000, "km"] + how, ["GEORADIUS", k, lon, lat, 4000, "km", "STOREDIST", self.key()],
            ["GEOSEARCHSTORE", self.key(), k, "FROMLONLAT", lon, lat, "BYBOX", 9000, 9000, "mi"],
        )


def canonical(reply):
    if isinstance(reply, list):
        return sorted((canonical(item) for item in reply), key=repr)
    return reply


def same(command, ours, theirs):
    name = str(command[0]).upper()
    if isinstance(ours, Error) or isinstance(theirs, Error):
        return isinstance(ours, Error) and isinstance(theirs, Error) and str(ours) == str(theirs)
    if name in BY_CHANCE:
        return type(ours) is type(theirs) and (not isinstance(ours, list) or len(ours) == len(theirs))
    if name == "OBJECT" and command[1] == "IDLETIME":
        return True
    if name in UNORDERED or isinstance(ours, set):
        return type(ours) is type(theirs) and canonical(list(ours)) == canonical(list(theirs))
    return ours == theirs and type(ours) is type(theirs)


def converse(wires, talk, count, history):
    commands = [talk.command() for _ in range(count)]
    data = b"".join(encode(*command) for command in commands)
    for wire in wires:
        wire.send(data)
    for command in commands:
        ours, theirs = [wire.reply() for wire in wires]
        history.append((command, ours))
        assert same(command, ours, theirs), f"{command!r} answers\n  {ours!r}\nnot\n  {theirs!r}\nafter\n" + "\n".join(
            f"  {str(c)[:300]} -> {str(r)[:200]!r}" for c, r in history[-40:]
        )


def value(wire, key):
    kind = wire.command("TYPE", key)
    how = wire.command("OBJECT", "ENCODING", key)
    if kind in (b"set", "set"):
        return kind, how, sorted(wire.command("SMEMBERS", key))
    if kind in (b"zset", "zset"):
        return kind, how, wire.command("ZRANGE", key, 0, -1, "WITHSCORES")
    return kind, how, wire.command("GET", key)


@pytest.fixture(scope="module")
def pair():
    ours, theirs = Node().ready(), RedisServer().ready()
    for server in (ours, theirs):
        server.lasting = True
    yield ours, theirs
    ours.stop()
    theirs.stop()


def compare_keys(wires):
    """Also what one dumps and the other restores."""
    ours, theirs = wires
    assert sorted(ours.command("KEYS", "*")) == sorted(theirs.command("KEYS", "*"))
    for key in ours.command("KEYS", "*"):
        want = value(theirs, key)
        assert value(ours, key) == want, key
        for source, target in ((ours, theirs), (theirs, ours)):
            reply = target.command("RESTORE", "copy", 0, source.command("DUMP", key))
            assert not isinstance(reply, Error), (key, want, reply)
            kind, how, what = value(target, "copy")
            assert (kind, what) == (want[0], want[2])
            target.command("DEL", "copy")


@pytest.mark.parametrize("talker", [Sets, SortedSets])
@pytest.mark.parametrize("proto", [2, 3])
def test_a_node_answers_as_redis_does(pair, proto, talker):
    for round_ in range(ROUNDS):
        seed = SEED * 1000 + round_ * 10 + proto
        talk = talker(seed)
        print(f"seed {seed}")
        wires = [server.wire() for server in pair]
        try:
            for wire in wires:
                wire.command("HELLO", proto)
                wire.command("FLUSHALL")
                wire.command("CONFIG", "SET", "set-max-intset-entries", 512 if round_ % 3 else 20)
                wire.command("CONFIG", "SET", "zset-max-listpack-entries", 128 if round_ % 3 else 5)
            history = []
            for _ in range(6):
                converse(wires, talk, BATCH, history)
            compare_keys(wires)
        finally:
            for wire in wires:
                wire.close()
