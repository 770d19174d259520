"""Random commands on sets and sorted sets, sent to a node and to Redis's own server: every reply must be the same,
what is in the keys afterwards, and what either dumps the other restores.

What chance decides is compared by its form only; what has no order is sorted."""
import pytest
from support import differential
from support.differential import Talk, same_errors

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
    errors = same_errors(ours, theirs)
    if errors is not None:
        return errors
    if name in BY_CHANCE:
        return type(ours) is type(theirs) and (not isinstance(ours, list) or len(ours) == len(theirs))
    if name == "OBJECT" and command[1] == "IDLETIME":
        return True
    if name in UNORDERED or isinstance(ours, set):
        return type(ours) is type(theirs) and canonical(list(ours)) == canonical(list(theirs))
    return ours == theirs and type(ours) is type(theirs)


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
    yield from differential.start_pair()


def configure(wire, round_):
    wire.command("CONFIG", "SET", "set-max-intset-entries", 512 if round_ % 3 else 20)
    wire.command("CONFIG", "SET", "zset-max-listpack-entries", 128 if round_ % 3 else 5)


def speak(wires, talk, history):
    for _ in range(6):
        differential.converse(wires, talk, BATCH, history, same)
    differential.compare_keys(wires, value, lambda what: (what[0], what[2]))


@pytest.mark.parametrize("talker", [Sets, SortedSets])
@pytest.mark.parametrize("proto", [2, 3])
def test_a_node_answers_as_redis_does(pair, proto, talker):
    differential.talk_to_both(pair, proto, talker, differential.rounds(20), configure, speak)
