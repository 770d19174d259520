#!/usr/bin/python3
"""usage: jedis-like.py plain|cluster PORT

What clients that are no packages here say first (Jedis, Lettuce, StackExchange.Redis, go-redis, hiredis), word by
word: a command that 7.0 does not know is an error and no reason to close. Prints "fine"."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from support.wire import Error, Wire, encode  # noqa: E402


def all_of(wire, *commands):
    """In one write, as they do it; the replies."""
    wire.send(b"".join(encode(*command) for command in commands))
    return [wire.reply() for _ in commands]


def is_unknown(reply):
    return isinstance(reply, Error) and reply.startswith(("ERR unknown", "ERR Unknown"))


def jedis(wire):
    hello, lib, version, name, ping = all_of(
        wire,
        ("HELLO", "3"),
        ("CLIENT", "SETINFO", "LIB-NAME", "jedis"),
        ("CLIENT", "SETINFO", "LIB-VER", "5.1.0"),
        ("CLIENT", "SETNAME", "app"),
        ("PING",),
    )
    assert hello[b"proto"] == 3 and hello[b"version"].startswith(b"7.0")
    assert all(reply == b"OK" or is_unknown(reply) for reply in (lib, version))
    assert (name, ping) == (b"OK", b"PONG")
    assert wire.command("CLIENT", "GETNAME") == b"app"


def lettuce(wire):
    replies = all_of(wire, ("HELLO", "3", "SETNAME", "lettuce"), ("CLIENT", "SETINFO", "lib-name", "Lettuce"), ("CLIENT", "NO-TOUCH", "on"), ("COMMAND", "COUNT"))
    assert replies[0][b"mode"] in (b"standalone", b"cluster")
    assert is_unknown(replies[2])  # 7.2's
    assert replies[3] > 200


def stackexchange(wire):
    replies = all_of(
        wire,
        ("CLIENT", "SETNAME", "host"),
        ("CONFIG", "GET", "timeout"),
        ("CONFIG", "GET", "slave-read-only"),
        ("CONFIG", "GET", "databases"),
        ("INFO", "replication"),
        ("INFO", "server"),
        ("SENTINEL", "MASTERS"),
        ("GET", "__Booksleeve_TieBreak"),
        ("ECHO", b"\x01\x02\xff"),
        ("SUBSCRIBE", "__Booksleeve_MasterChanged"),
    )
    assert replies[0] == b"OK" and replies[1][0] == b"timeout" and replies[3][1] == b"16"
    assert b"role:master" in replies[4] and b"redis_version:7.0" in replies[5]
    assert is_unknown(replies[6])
    assert replies[7:9] == [None, b"\x01\x02\xff"] and replies[9][:2] == [b"subscribe", b"__Booksleeve_MasterChanged"]


def go_redis(wire):
    replies = all_of(wire, ("HELLO", "3"), ("CLIENT", "SETINFO", "LIB-NAME", "go-redis(,go1.22)"), ("CLIENT", "MAINT_NOTIFICATIONS", "ON"), ("MULTI",), ("INCR", "go{n}"), ("EXPIRE", "go{n}", "100"), ("EXEC",))
    assert is_unknown(replies[2])
    assert replies[3:6] == [b"OK", b"QUEUED", b"QUEUED"] and replies[6][1] == 1


def hiredis(wire):
    """Inline, and a pipeline in pieces of bytes."""
    wire.send(b"PING\r\n")
    assert wire.reply() == b"PONG"
    data = b"".join(encode("APPEND", "hi", "x") for _ in range(50))
    for i in range(0, len(data), 7):
        wire.send(data[i : i + 7])
    assert [wire.reply() for _ in range(50)][-1] >= 50
    assert is_unknown(wire.command("NO-SUCH", "command")) and is_unknown(wire.command("CLIENT", "NO-SUCH"))
    assert wire.command("PING") == b"PONG"


def cluster(wire, port):
    """How cluster clients begin: the slots, each of whose places must serve."""
    slots = wire.command("CLUSTER", "SLOTS")
    assert sum(end - begin + 1 for begin, end, *_ in slots) == 16384
    assert wire.command("CLUSTER", "NODES") and wire.command("CLUSTER", "SHARDS")
    for _, _, (_, there, *_), *_ in slots:
        with Wire(there or port, limit=30) as node:
            assert all_of(node, ("READONLY",), ("PING",)) == [b"OK", b"PONG"]


def main():
    kind, port = sys.argv[1], int(sys.argv[2])
    for handshake in (jedis, lettuce, stackexchange, go_redis, hiredis):
        with Wire(port, limit=30) as wire:
            handshake(wire)
    if kind == "cluster":
        with Wire(port, limit=30) as wire:
            cluster(wire, port)
    print("fine")


main()
