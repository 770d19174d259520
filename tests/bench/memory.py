#!/usr/bin/python3
"""Memory per key, or per element of a large one: shoal-node against redis-server, with the same data.

usage: tests/bench/memory.py [REGEX]     only the lines whose name matches

Each line fills an empty server and takes what used_memory grew by. Ratios are ours / theirs: less is better. Ends with
an error if one is above 1.0.

Environment: BENCH_OUT=file puts the table between the marks "<!-- memory -->" and "<!-- /memory -->" of that file
(docs/PERFORMANCE.md); it is printed in any case.
"""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from support.process import stop_all  # noqa: E402
from support.programs import Node, RedisServer  # noqa: E402
from support.wire import encode  # noqa: E402

BATCH = 500


def words(n, size, start=0):
    return [b"%0*d" % (size, start + i) if size > 0 else start + i for i in range(n)]


def texts(n, size, start=0):
    return [b"x" * (size - 7) + b"%07d" % (start + i) for i in range(n)]


def pairs(names, values):
    return [word for pair in zip(names, values) for word in pair]


def each(count, make):
    """Small keys: one command a key. Yields the commands; the figure is per key."""
    return count, ((make(b"key:%07d" % i, i)) for i in range(count))


def large(count, make, step=100):
    """One large key, filled step by step; the figure is per element."""
    return count, (make(b"large", i, step) for i in range(0, count, step))


def stream(key, i, entries=1):
    return ["XADD", key, f"{1700000000000 + i}-0", "name", b"user:%07d" % i, "age", i % 90, "city", "somewhere"]


def pending(count):
    yield ["XGROUP", "CREATE", "large", "workers", 0, "MKSTREAM"]
    for i in range(count):
        yield stream(b"large", i)
    for i in range(count // 100):
        yield ["XREADGROUP", "GROUP", "workers", b"worker-%d" % (i % 10), "COUNT", 100, "STREAMS", "large", ">"]


def dense(count):
    for i in range(count):
        yield ["PFADD", b"key:%d" % i] + texts(100, 20, i * 100)
        yield ["PFDEBUG", "TODENSE", b"key:%d" % i]


LINES = {
    "string, number": lambda: each(100000, lambda k, i: ["SET", k, i * 100003]),
    "string, 20 B": lambda: each(100000, lambda k, i: ["SET", k, b"x" * 20]),
    "string, 100 B": lambda: each(100000, lambda k, i: ["SET", k, b"x" * 100]),
    "string, 1 KiB": lambda: each(30000, lambda k, i: ["SET", k, b"x" * 1024]),
    "string, 20 B, expires": lambda: each(100000, lambda k, i: ["SET", k, b"x" * 20, "EX", 100000]),
    "list, 5 of 10 B": lambda: each(40000, lambda k, i: ["RPUSH", k] + texts(5, 10)),
    "list, 100 of 10 B": lambda: each(5000, lambda k, i: ["RPUSH", k] + texts(100, 10)),
    "list, 300,000 of 20 B": lambda: large(300000, lambda k, i, n: ["RPUSH", k] + texts(n, 20, i)),
    "list, 300,000 numbers": lambda: large(300000, lambda k, i, n: ["RPUSH", k] + words(n, 0, i)),
    "hash, 5 fields, listpack": lambda: each(40000, lambda k, i: ["HSET", k] + pairs(texts(5, 8), texts(5, 10))),
    "hash, 100 fields, listpack": lambda: each(3000, lambda k, i: ["HSET", k] + pairs(texts(100, 8), texts(100, 10))),
    "hash, 5 fields of 100 B": lambda: each(10000, lambda k, i: ["HSET", k] + pairs(texts(5, 8), texts(5, 100))),
    "hash, 200,000 fields of 20 B": lambda: large(200000, lambda k, i, n: ["HSET", k] + pairs(texts(n, 12, i), texts(n, 20, i))),
    "hash, 200,000 fields of 100 B": lambda: large(200000, lambda k, i, n: ["HSET", k] + pairs(texts(n, 12, i), texts(n, 100, i))),
    "set, 5 numbers": lambda: each(40000, lambda k, i: ["SADD", k] + words(5, 0, i)),
    "set, 400 numbers": lambda: each(2000, lambda k, i: ["SADD", k] + words(400, 0, i)),
    "set, 5 of 10 B": lambda: each(20000, lambda k, i: ["SADD", k] + texts(5, 10)),
    "set, 100 of 10 B": lambda: each(2000, lambda k, i: ["SADD", k] + texts(100, 10)),
    "set, 300,000 of 20 B": lambda: large(300000, lambda k, i, n: ["SADD", k] + texts(n, 20, i)),
    "set, 300,000 numbers": lambda: large(300000, lambda k, i, n: ["SADD", k] + words(n, 0, i)),
    "zset, 5 of 10 B": lambda: each(40000, lambda k, i: ["ZADD", k] + pairs(words(5, 0), texts(5, 10))),
    "zset, 100 of 10 B": lambda: each(3000, lambda k, i: ["ZADD", k] + pairs(words(100, 0), texts(100, 10))),
    "zset, 300 of 10 B, skiplist": lambda: each(1000, lambda k, i: ["ZADD", k] + pairs(words(300, 0), texts(300, 10))),
    "zset, 300,000 of 20 B": lambda: large(300000, lambda k, i, n: ["ZADD", k] + pairs(words(n, 0, i), texts(n, 20, i))),
    "stream, 1 entry": lambda: each(20000, stream),
    "stream, 10 entries": lambda: (2000, (stream(b"key:%07d" % (i // 10), i) for i in range(20000))),
    "stream, 100,000 entries": lambda: (100000, (stream(b"large", i) for i in range(100000))),
    "stream, 100,000 pending": lambda: (100000, pending(100000)),
    "HyperLogLog, 100 elements": lambda: each(5000, lambda k, i: ["PFADD", k] + texts(100, 20, i * 100)),
    "HyperLogLog, dense": lambda: (1000, dense(1000)),
    "geo, 100,000 places": lambda: large(
        100000,
        lambda k, i, n: ["GEOADD", k] + [w for j in range(i, i + n) for w in (j % 360 - 180, j % 170 / 2 - 42, b"place:%07d" % j)],
    ),
    "geo, 50 places": lambda: each(
        2000, lambda k, i: ["GEOADD", k] + [w for j in range(50) for w in (13 + j / 100, 38 + j / 90, b"place:%07d" % j)]
    ),
}


def used(wire):
    info = wire.command("INFO", "memory")
    return int(re.search(rb"used_memory:(\d+)", info).group(1))


def measure(server, line):
    with server.wire() as wire:
        wire.command("FLUSHALL", "SYNC")
        before = used(wire)
        count, commands = line()
        batch = []

        def flush():
            wire.send(b"".join(batch))
            for _ in batch:
                reply = wire.reply()
                assert not type(reply).__name__ == "Error", reply
            batch.clear()

        for command in commands:
            batch.append(encode(*command))
            if len(batch) >= BATCH // max(1, len(command) // 20):
                flush()
        if batch:
            flush()
    with server.wire() as wire:  # without the buffers of the one that filled it
        return (used(wire) - before) / count


def table(pattern):
    ours, theirs = Node().ready(), RedisServer().ready()
    lines = ["| data | shoal-node | redis-server | ratio |", "|---|---:|---:|---:|"]
    worst = 0
    try:
        for name, line in LINES.items():
            if not re.search(pattern, name):
                continue
            a, b = measure(ours, line), measure(theirs, line)
            worst = max(worst, a / b)
            lines.append(f"| {name} | {a:,.1f} | {b:,.1f} | **{a / b:.2f}** |")
            print(lines[-1], flush=True)
    finally:
        stop_all()
    return lines, worst


def main():
    lines, worst = table(sys.argv[1] if len(sys.argv) > 1 else "")
    out = os.environ.get("BENCH_OUT")
    if out:
        with open(out, encoding="utf-8") as file:
            text = file.read()
        begin, end = "<!-- memory -->\n", "<!-- /memory -->"
        at, to = text.index(begin) + len(begin), text.index(end)
        with open(out, "w", encoding="utf-8") as file:
            file.write(text[:at] + "\n".join(lines) + "\n" + text[to:])
    if round(worst, 2) > 1.0:
        sys.exit(f"memory: a line takes {worst:.2f} of redis-server's")


if __name__ == "__main__":
    main()
