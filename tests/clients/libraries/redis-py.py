#!/usr/bin/python3
"""usage: redis-py.py plain|cluster PORT

redis-py with its default settings. Prints "fine", or ends with what was wrong."""
import asyncio
import sys
import threading

import redis
import redis.asyncio


def connect(kind, port):
    if kind == "cluster":
        return redis.RedisCluster(host="127.0.0.1", port=port, decode_responses=True)
    return redis.Redis(port=port, decode_responses=True)


def types(r):
    assert r.set("s", 1, ex=100) and r.incr("s", 41) == 42
    assert r.hset("h", mapping={"a": 1, "b": 2}) == 2 and r.hgetall("h") == {"a": "1", "b": "2"}
    assert r.rpush("l", "a", "b", "c") == 3 and r.lrange("l", 0, -1) == ["a", "b", "c"]
    assert r.sadd("u", "x", "y") == 2 and r.smembers("u") == {"x", "y"}
    assert r.zadd("z", {"one": 1, "two": 2.5}) == 2
    assert r.zrange("z", 0, -1, withscores=True) == [("one", 1.0), ("two", 2.5)]
    first = r.xadd("x", {"f": "v"})
    assert r.xgroup_create("x", "g", 0) and r.xreadgroup("g", "c", {"x": ">"}) == [["x", [(first, {"f": "v"})]]]
    assert r.xack("x", "g", first) == 1 and r.xpending("x", "g")["pending"] == 0
    assert r.pfadd("p", "a", "b") and r.pfcount("p") == 2
    assert r.geoadd("g", (13.361389, 38.115556, "Palermo")) == 1
    assert r.setbit("b", 7, 1) == 0 and r.bitcount("b") == 1
    try:
        r.incr("h")
        raise AssertionError("INCR of a hash")
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error), error


def transactions(r):
    r.set("{t}n", 1)
    with r.pipeline() as pipe:
        while True:
            try:
                pipe.watch("{t}n")
                value = int(pipe.get("{t}n"))
                pipe.multi()
                pipe.set("{t}n", value + 1)
                pipe.lpush("{t}l", "a")
                assert pipe.execute() == [True, 1]
                break
            except redis.WatchError:
                continue
    double = r.register_script("return redis.call('get', KEYS[1]) * ARGV[1]")
    assert double(keys=["{t}n"], args=[21]) == 42
    with r.lock("{t}lock", timeout=10, blocking_timeout=10):
        assert not r.lock("{t}lock", timeout=10).acquire(blocking=False)


def waiting(kind, port, r):
    got = []
    other = connect(kind, port)
    thread = threading.Thread(target=lambda: got.append(other.blpop("queue", timeout=20)))
    thread.start()
    r.rpush("queue", "job")
    thread.join()
    assert got == [("queue", "job")], got
    assert other.blpop("queue", timeout=1) is None


def messages(r):
    sub = r.pubsub()
    sub.subscribe("news")
    sub.psubscribe("new*")
    while sub.get_message(timeout=10)["type"] != "psubscribe":
        pass
    for i in range(50):
        assert r.publish("news", i) == 2
    got = [sub.get_message(timeout=10) for _ in range(100)]
    assert [m["data"] for m in got if m["type"] == "message"] == [str(i) for i in range(50)]
    assert [m["data"] for m in got if m["type"] == "pmessage"] == [str(i) for i in range(50)]
    sub.close()


async def in_asyncio(port):
    r = redis.asyncio.Redis(port=port, decode_responses=True)
    await asyncio.gather(*(r.set(f"async:{i}", i) for i in range(100)))
    assert await r.mget("async:1", "async:99") == ["1", "99"]
    assert len([key async for key in r.scan_iter("async:*")]) == 100
    await r.close()


def main():
    kind, port = sys.argv[1], int(sys.argv[2])
    r = connect(kind, port)
    r.flushall()
    types(r)
    if kind == "plain":
        transactions(r)
    waiting(kind, port, r)
    if kind == "plain":
        messages(r)
        asyncio.run(in_asyncio(port))
    print("fine")


main()
