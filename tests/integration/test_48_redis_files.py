"""dump.rdb, both ways: what redis-server saved a node loads, and what a node saved redis-server loads, key by key the
same: every type in every encoding, times to live, databases, and a file with a function library in it."""
import os
import shutil

from support.process import temp_dir
from support.programs import Node, RedisServer
from support.wire import Error
from test_44_differential_streams import timeless

LIBRARY = "#!lua name=lib\nredis.register_function('answer', function() return 42 end)"


def fill(wire):
    """Every type, small and large, in two databases."""
    for db in (0, 5):
        wire.command("SELECT", db)
        wire.command("SET", "int", 1234567)
        wire.command("SET", "short", "hello")
        wire.command("SET", "long", "hello world " * 500)
        wire.command("SET", b"bin\x00\xff", bytes(range(256)))
        wire.command("SET", "expires", "soon", "PX", 100000000)
        for name, items in (("list", 3), ("list:long", 3000)):
            wire.command("RPUSH", name, *("item:%d" % i for i in range(items)))
        wire.command("RPUSH", "list:plain", "a", "x" * 20000, 5)
        wire.command("SADD", "set:int", 1, 2, 70000, 5000000000)
        wire.command("SADD", "set:int:long", *range(1000))
        wire.command("SADD", "set", "a", "b", 7)
        wire.command("HSET", "hash", "a", 1, "b", "two")
        wire.command("HSET", "hash:long", *(str(i) for i in range(2000)))
        wire.command("EXPIRE", "hash:long", 5000)
        wire.command("ZADD", "zset", 1, "a", 2.5, "b", "-inf", "c")
        wire.command("ZADD", "zset:long", *(part for i in range(500) for part in (i * 0.37, "member:%d" % i)))
        wire.command("PFADD", "hll", *range(100))
        wire.command("PFADD", "hll:dense", *range(100))
        wire.command("PFDEBUG", "TODENSE", "hll:dense")
        for i in range(1, 300):
            wire.command("XADD", "stream", f"{i}-1", "name", "v%d" % i, "n", i)
        wire.command("XADD", "stream", "1000-*", "other", "field")
        wire.command("XDEL", "stream", "7-1", "250-1")
        wire.command("XGROUP", "CREATE", "stream", "g", 0, "ENTRIESREAD", 3)
        wire.command("XGROUP", "CREATE", "stream", "12", "$")
        wire.command("XREADGROUP", "GROUP", "g", "alice", "COUNT", 100, "STREAMS", "stream", ">")
        wire.command("XREADGROUP", "GROUP", "g", "bob", "COUNT", 20, "STREAMS", "stream", ">")
        wire.command("XACK", "stream", "g", "3-1", "101-1")
        wire.command("XGROUP", "CREATECONSUMER", "stream", "g", "idle")
        wire.command("XGROUP", "CREATE", "stream:empty", "g", 0, "MKSTREAM")


def value(wire, key):
    kind = wire.command("TYPE", key)
    commands = {
        b"string": ["GET", key],
        b"list": ["LRANGE", key, 0, -1],
        b"set": ["SMEMBERS", key],
        b"hash": ["HGETALL", key],
        b"zset": ["ZRANGE", key, 0, -1, "WITHSCORES"],
        b"stream": ["XINFO", "STREAM", key, "FULL", "COUNT", 0],
    }
    reply = timeless(wire.command(*commands[kind]))
    if kind == b"set":
        reply = sorted(reply)
    elif kind == b"hash":
        reply = sorted(zip(reply[::2], reply[1::2]))
    return kind, wire.command("OBJECT", "ENCODING", key), wire.command("PEXPIRETIME", key), reply


def everything(wire):
    found = {}
    for db in range(16):
        wire.command("SELECT", db)
        for key in wire.command("KEYS", "*"):
            found[db, key] = value(wire, key)
    return found


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for key, want in theirs.items():
        assert ours[key] == want, key


def save(server):
    with server.wire() as wire:
        fill(wire)
        before = everything(wire)
        assert wire.command("SAVE") == b"OK"
    assert len(before) > 30
    return before


def into(directory, server):
    shutil.copy(os.path.join(server.dir, "dump.rdb"), os.path.join(directory, "dump.rdb"))
    return directory


def test_what_redis_saved_a_node_loads():
    redis = RedisServer().ready()
    with redis.wire() as wire:
        assert not isinstance(wire.command("FUNCTION", "LOAD", LIBRARY), Error)
    before = save(redis)
    node = Node(directory=into(temp_dir("redis-files"), redis)).ready()
    with node.wire() as wire:
        same(everything(wire), before)
        # And what it makes of it, Redis loads again.
        assert wire.command("SAVE") == b"OK"
    check_redis_loads(node, before)


def check_redis_loads(node, before):
    redis = RedisServer(dir=into(temp_dir("redis-files"), node)).ready()
    with redis.wire() as wire:
        same(everything(wire), before)


def test_what_a_node_saved_redis_loads():
    node = Node().ready()
    before = save(node)
    check_redis_loads(node, before)
