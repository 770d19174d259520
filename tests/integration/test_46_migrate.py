"""MIGRATE: keys that move to another node or to Redis's own server, and what happens when that goes wrong."""
import socket
import threading
import time

import pytest
from support.process import free_port
from support.programs import Node, RedisServer
from support.wait import wait_until
from support.wire import Error


@pytest.fixture(scope="module")
def servers():
    here, there, redis = Node().ready(), Node().ready(), RedisServer().ready()
    for server in (here, there, redis):
        server.lasting = True
    with there.wire() as wire:
        assert wire.command("CONFIG", "SET", "requirepass", "secret") == b"OK"
    yield here, there, redis
    for server in (here, there, redis):
        server.stop()


@pytest.fixture
def wires(servers):
    opened = [server.wire() for server in servers]
    opened[1].command("AUTH", "secret")
    for wire in opened:
        wire.command("FLUSHALL")
    yield opened
    for wire in opened:
        wire.close()


def fill(wire):
    wire.command("SET", "string", "value")
    wire.command("RPUSH", "list", *range(300))
    wire.command("HSET", "hash", "a", 1, "b", "x" * 100)
    wire.command("SADD", "set", 1, 2, "three")
    wire.command("ZADD", "zset", 1, "a", 2.5, "b")
    wire.command("XADD", "stream", "1-1", "f", "v")
    wire.command("XGROUP", "CREATE", "stream", "g", 0)
    wire.command("PFADD", "hll", *range(50))
    return ["string", "list", "hash", "set", "zset", "stream", "hll"]


def test_every_type_moves_to_redis(servers, wires):
    here, _, redis = wires
    keys = fill(here)
    dumps = {key: here.command("DUMP", key) for key in keys}
    here.command("PEXPIRE", "string", 100000)
    assert here.command("MIGRATE", "127.0.0.1", servers[2].port, "", 3, 5000, "KEYS", *keys, "missing") == b"OK"
    assert here.command("DBSIZE") == 0
    redis.command("SELECT", 3)
    assert redis.command("DBSIZE") == len(keys)
    assert redis.command("LRANGE", "list", 0, -1) == [b"%d" % i for i in range(300)]
    assert redis.command("GET", "string") == b"value"
    assert 0 < redis.command("PTTL", "string") <= 100000
    assert redis.command("XLEN", "stream") == 1
    assert redis.command("ZRANGE", "zset", 0, -1, "WITHSCORES") == [b"a", b"1", b"b", b"2.5"]
    for key in keys:  # and what Redis makes of it comes back
        assert here.command("RESTORE", key, 0, redis.command("DUMP", key)) == b"OK"
        assert here.command("DUMP", key) == dumps[key] or key in ("set", "hash")


def test_to_another_node_with_its_password_and_by_name(servers, wires):
    here, there, _ = wires
    here.command("SET", "a", 1)
    target = ("localhost", servers[1].port)
    assert here.command("MIGRATE", *target, "a", 0, 5000) == Error(
        "ERR Target instance replied with error: NOAUTH Authentication required."
    )
    assert "WRONGPASS" in here.command("MIGRATE", *target, "a", 0, 5000, "AUTH", "wrong")
    assert here.command("EXISTS", "a") == 1
    assert here.command("MIGRATE", *target, "a", 0, 5000, "COPY", "AUTH", "secret") == b"OK"
    assert here.command("GET", "a") == b"1" and there.command("GET", "a") == b"1"
    assert "BUSYKEY" in here.command("MIGRATE", *target, "a", 0, 5000, "AUTH2", "default", "secret")
    here.command("SET", "a", 2)
    assert here.command("MIGRATE", *target, "a", 0, 5000, "REPLACE", "AUTH2", "default", "secret") == b"OK"
    assert here.command("EXISTS", "a") == 0 and there.command("GET", "a") == b"2"


def test_what_was_refused_stays(servers, wires):
    here, _, redis = wires
    for key in ("a", "b", "c"):
        here.command("SET", key, "mine")
    redis.command("SET", "b", "theirs")
    reply = here.command("MIGRATE", "127.0.0.1", servers[2].port, "", 0, 5000, "KEYS", "a", "b", "c")
    assert reply == Error("ERR Target instance replied with error: BUSYKEY Target key name already exists.")
    assert here.command("KEYS", "*") == [b"b"]
    assert redis.command("MGET", "a", "b", "c") == [b"mine", b"theirs", b"mine"]
    assert "DB index" in here.command("MIGRATE", "127.0.0.1", servers[2].port, "b", 99, 5000)
    assert here.command("GET", "b") == b"mine"


def test_arguments(servers, wires):
    here, _, redis = wires
    port = servers[2].port
    for wire in (here, redis):
        wire.command("SET", "a", 1)
    for words in (
        ["127.0.0.1", port, "missing", 0, 100],
        ["127.0.0.1", port, "a", 0, "x"],
        ["127.0.0.1", port, "a", "x", 100],
        ["127.0.0.1", port, "a", 0, 100, "BAD"],
        ["127.0.0.1", port, "a", 0, 100, "AUTH"],
        ["127.0.0.1", port, "a", 0, 100, "AUTH2", "x"],
        ["127.0.0.1", port, "a", 0, 100, "KEYS", "a"],
        ["127.0.0.1", port, "", 0, 100, "KEYS", "missing"],
        ["127.0.0.1", free_port(), "a", 0, 100],
    ):
        assert here.command("MIGRATE", *words) == redis.command("MIGRATE", *words), words
    here.command("MULTI")
    here.command("MIGRATE", "127.0.0.1", port, "a", 0, 100)
    assert "transactions" in here.command("EXEC")[0]


def test_nobody_waits_for_a_server_that_does_not_answer(servers, wires):
    here, other = wires[0], servers[0].wire()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        here.command("SET", "a", 1)
        begun = time.monotonic()
        reply = []
        waiting = threading.Thread(target=lambda: reply.append(here.command("MIGRATE", "127.0.0.1", silent.getsockname()[1], "a", 0, 700)))
        waiting.start()
        connection, _ = silent.accept()
        for _ in range(100):
            assert other.command("INCR", "n") > 0
        assert time.monotonic() - begun < 0.7 or reply
        waiting.join()
        assert reply == [Error("IOERR error or timeout reading to target instance")]
        assert other.command("GET", "a") == b"1"
        connection.close()
        # A client that goes takes its migration with it.
        gone = servers[0].wire()
        gone.send("MIGRATE 127.0.0.1 %d a 0 100000\r\n" % silent.getsockname()[1])
        connection, _ = silent.accept()
        gone.close()
        wait_until(lambda: connection.recv(1000) == b"", what="the connection ends")
        connection.close()
        assert other.command("GET", "a") == b"1"
    other.close()


def test_what_changes_meanwhile_arrives_as_it_is_last(servers, wires):
    """Writers go on until their key is gone: what they were told was done is what arrived."""
    here, _, redis = wires
    counts = {}

    def count(key):
        with servers[0].wire() as wire:
            last = 0
            while True:
                n = wire.command("INCR", key)
                if n < last:  # it began anew: the key had moved
                    wire.command("DEL", key)
                    break
                last = n
            counts[key] = last

    keys = [f"k{i}" for i in range(4)]
    for key in keys:
        here.command("SET", key, 1)
    threads = [threading.Thread(target=count, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for key in keys:  # its writer is at work: one that began behind the move would never see it
        wait_until(lambda: int(here.command("GET", key)) > 1, what="the first count")
        reply = b""
        while reply != b"OK":
            reply = here.command("MIGRATE", "127.0.0.1", servers[2].port, key, 0, 5000, "REPLACE")
            assert reply == b"OK" or "changes faster" in reply
    for thread in threads:
        thread.join()
    assert {key: int(redis.command("GET", key)) for key in keys} == counts
