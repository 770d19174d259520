"""Commands over many shards: the cluster looks like one Redis."""
import random
import re

import pytest
import redis
from support.wire import Error, encode


@pytest.fixture
def r(proxy):
    proxy.r.flushall()
    return proxy.r


def keys(count, prefix="key"):
    return [f"{prefix}:{i}" for i in range(count)]


def test_mset_mget_del_over_shards(r):
    names = keys(1000)
    assert r.mset({name: name.upper() for name in names})
    shuffled = names + ["absent", names[7], names[7]]
    random.Random(1).shuffle(shuffled)
    expected = [None if name == "absent" else name.upper() for name in shuffled]
    assert r.mget(shuffled) == expected
    assert r.exists(*names, names[0], "absent") == 1001
    assert r.touch(*names, "absent") == 1000
    assert r.delete(*names[:400], "absent") == 400
    assert r.unlink(*names) == 600
    assert r.dbsize() == 0


def test_keys_spread_over_all_nodes(r, proxy):
    r.mset({name: 1 for name in keys(3000)})
    info = proxy.cli("PROXY", "NODES")[1]
    assert "state=healthy" in info
    assert r.dbsize() == 3000


def test_scan_sees_every_key_once_and_ends(r):
    names = keys(5000)
    r.mset({name: 1 for name in names})
    seen = list(r.scan_iter(count=100))
    assert len(seen) >= 5000
    assert sorted(set(seen)) == sorted(names)
    assert sorted(set(r.scan_iter(match="key:1*", count=500))) == sorted(n for n in names if n.startswith("key:1"))
    assert set(r.scan_iter(_type="string")) == set(names)
    assert set(r.scan_iter(_type="list")) == set()


def test_scan_survives_writes(r):
    stay = keys(2000, "stay")
    r.mset({name: 1 for name in stay})
    cursor, seen, number = 0, set(), 0
    while True:
        cursor, part = r.scan(cursor, count=50)
        seen.update(part)
        r.mset({f"new:{number}:{i}": 1 for i in range(50)})
        r.delete(*[f"new:{number - 5}:{i}" for i in range(50)])
        number += 1
        if cursor == 0:
            break
        assert number < 5000
    assert set(stay) <= seen


def test_scan_cursor_is_a_plain_integer(proxy, r):
    r.mset({name: 1 for name in keys(1000)})
    with proxy.wire() as wire:
        cursor = wire.command("SCAN", "0", "COUNT", "5")[0]
        assert cursor.isdigit() and 0 < int(cursor) < 2**64
        assert wire.command("SCAN", "abc") == "ERR invalid cursor"
        assert wire.command("SCAN", "0", "COUNT", "0") == "ERR syntax error"
        assert wire.command("SCAN", "0", "COUNT", "x") == "ERR value is not an integer or out of range"


def test_keys_dbsize_randomkey_flush(r):
    names = keys(500)
    r.mset({name: 1 for name in names})
    assert sorted(r.keys()) == sorted(names)
    assert sorted(r.keys("key:4*")) == sorted(n for n in names if n.startswith("key:4"))
    assert r.dbsize() == 500
    assert len({r.randomkey() for _ in range(200)}) > 50
    assert r.flushdb()
    assert r.dbsize() == 0 and r.keys() == [] and r.randomkey() is None


def test_databases_are_apart(proxy, r):
    one, two = proxy.client(db=1), proxy.client(db=2)
    r.mset({name: "zero" for name in keys(100)})
    one.mset({name: "one" for name in keys(50)})
    assert (r.dbsize(), one.dbsize(), two.dbsize()) == (100, 50, 0)
    assert one.get("key:7") == "one" and r.get("key:7") == "zero" and two.get("key:7") is None
    assert one.move("key:7", 2) and two.get("key:7") == "one" and one.get("key:7") is None
    assert one.flushdb()
    assert (r.dbsize(), one.dbsize(), two.dbsize()) == (100, 0, 1)
    assert r.swapdb(0, 2)
    assert (r.dbsize(), two.dbsize()) == (1, 100)
    assert r.flushall()
    assert (r.dbsize(), two.dbsize()) == (0, 0)
    with proxy.wire() as wire:
        assert wire.command("SELECT", "99") == "ERR DB index is out of range"
        assert wire.command("SELECT", "x") == "ERR value is not an integer or out of range"


def test_clients_on_one_lane_keep_their_own_database(proxy, r):
    """Many clients share a connection to a node; each has its own database all the same."""
    clients = [proxy.client(db=db) for db in range(16)]
    for number, client in enumerate(clients):
        client.set("same", number)
    for _ in range(3):
        for number, client in enumerate(clients):
            assert client.get("same") == str(number)


def test_multi_exec_within_a_slot(proxy, r):
    with r.pipeline(transaction=True) as pipe:
        pipe.set("{t}a", 1).incr("{t}a").mset({"{t}b": 5, "{t}c": 6}).mget("{t}a", "{t}b", "{t}c")
        assert pipe.execute() == [True, 2, True, ["2", "5", "6"]]
    with proxy.wire() as wire:
        assert wire.command("MULTI") == b"OK"
        assert wire.command("SET", "{t}a", "x") == b"QUEUED"
        assert wire.command("DISCARD") == b"OK"
        assert wire.command("GET", "{t}a") == b"2"
        assert wire.command("MULTI") == b"OK"
        assert wire.command("NOSUCH").startswith("ERR unknown command")
        assert wire.command("EXEC") == "EXECABORT Transaction discarded because of previous errors."
        assert wire.command("EXEC") == "ERR EXEC without MULTI"
        assert wire.command("MULTI") == b"OK"
        assert wire.command("MULTI") == "ERR MULTI calls can not be nested"
        assert wire.command("EXEC") == []


def test_watch(proxy, r):
    other = proxy.client()
    with r.pipeline() as pipe:
        pipe.watch("{t}w")
        other.set("{t}w", "changed")
        pipe.multi()
        pipe.set("{t}w", "mine")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert r.get("{t}w") == "changed"
    with r.pipeline() as pipe:
        pipe.watch("{t}w")
        pipe.multi()
        pipe.set("{t}w", "mine")
        assert pipe.execute() == [True]


def test_two_slots_in_one_transaction_are_refused_clearly(proxy, r):
    with proxy.wire() as wire:
        assert wire.command("MULTI") == b"OK"
        assert wire.command("SET", "a", "1") == b"QUEUED"
        wire.command("SET", "b", "2")
        result = wire.command("EXEC")
        assert isinstance(result, Error) and re.match("CROSSSLOT|EXECABORT", result)
    assert r.get("a") is None and r.get("b") is None


def test_commands_that_cannot_be_split_say_so(proxy, r):
    with proxy.wire() as wire:
        assert wire.command("RENAME", "a", "b").startswith("CROSSSLOT")
        assert wire.command("MSETNX", "a", "1", "b", "2").startswith("CROSSSLOT")
        assert wire.command("BITOP", "OR", "a", "b", "c").startswith("CROSSSLOT")
        wire.command("SET", "{x}1", "v")
        assert wire.command("RENAME", "{x}1", "{x}2") == b"OK"
        assert wire.command("GET", "{x}2") == b"v"


def test_what_is_not_served_answers_a_clear_error(proxy, node):
    for server in (proxy, node):
        with server.wire() as wire:
            for command in ("FAILOVER", "MODULE LOAD x", *(["SYNC", "PSYNC ? -1"] if server is proxy else [])):
                assert isinstance(wire.command(*command.split()), Error), command
            assert wire.command("PING") == b"PONG"


def test_mget_of_wrong_arity_and_mset_of_odd_count(proxy):
    with proxy.wire() as wire:
        assert wire.command("MGET") == "ERR wrong number of arguments for 'mget' command"
        assert wire.command("MSET", "a") == "ERR wrong number of arguments for 'mset' command"
        assert wire.command("MSET", "a", "1", "b") == "ERR wrong number of arguments for 'mset' command"


def test_order_of_one_clients_commands(proxy, r):
    """A pipeline mixes shards, splits and local answers; replies come in request order and effects
    of one key in command order."""
    rng = random.Random(7)
    model, requests, expected = {}, [], []
    for step in range(5000):
        kind = rng.randrange(6)
        key = f"key:{rng.randrange(40)}"
        if kind == 0:
            requests.append(encode("SET", key, step))
            model[key] = str(step).encode()
            expected.append(b"OK")
        elif kind == 1:
            requests.append(encode("GET", key))
            expected.append(model.get(key))
        elif kind == 2:
            requests.append(encode("APPEND", key, "x"))
            model[key] = model.get(key, b"") + b"x"
            expected.append(len(model[key]))
        elif kind == 3:
            some = [f"key:{rng.randrange(40)}" for _ in range(10)]
            requests.append(encode("MGET", *some))
            expected.append([model.get(name) for name in some])
        elif kind == 4:
            some = sorted({f"key:{rng.randrange(40)}" for _ in range(3)})
            requests.append(encode("DEL", *some))
            expected.append(sum(model.pop(name, None) is not None for name in some))
        else:
            requests.append(encode("ECHO", step))
            expected.append(str(step).encode())
    with proxy.wire(limit=60) as wire:
        for first in range(0, len(requests), 250):
            wire.send(b"".join(requests[first : first + 250]))
            for number in range(first, min(first + 250, len(requests))):
                assert wire.reply() == expected[number], (number, requests[number])


def test_expiry_through_the_proxy(r):
    r.set("short", 1, px=50)
    r.set("long", 1, ex=1000)
    assert 900 < r.ttl("long") <= 1000
    from support.wait import wait_until

    wait_until(lambda: r.get("short") is None, what="the key to expire")
    wait_until(lambda: r.dbsize() == 1, what="the expired key to be gone from DBSIZE")
