"""Scripts and functions on one node: Redis's answers, byte by byte; slow ones; libraries on disk."""
import os
import threading

import pytest
from support.process import temp_dir
from support.programs import Node, RedisServer
from support.wait import wait_until
from support.wire import Error, Wire

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = "#!lua name=lib\nredis.register_function('f', function(keys, args) return {keys[1], args[1]} end)"
FOR_EVER = "while true do end"


@pytest.fixture
def node():
    return Node(enable_debug_command="yes", busy_reply_threshold=20).ready()


def raw(wire, *words):
    """The reply's bytes as they come, errors too."""
    words = [word if isinstance(word, bytes) else str(word).encode("latin1") for word in words]
    wire.send(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    return element(wire)


def element(wire):
    line = wire.line()
    kind, count = line[:1], line[1:]
    if kind in b"$=":
        return line if int(count) < 0 else line + wire.exactly(int(count) + 2)
    if kind in b"*~%>|":
        n = max(int(count), 0) * (2 if kind in b"%|" else 1) + (kind == b"|")
        return line + b"".join(element(wire) for _ in range(n))
    return line


@pytest.mark.parametrize("proto", [2, 3])
def test_scripts_answer_as_redis_does(node, proto):
    with open(os.path.join(HERE, "scripts", "scripts.txt"), encoding="latin1", newline="") as file:
        scripts = [script for script in file.read().rstrip("\n").split("\n----\n") if script]
    assert len(scripts) > 200
    redis_server = RedisServer().ready()
    different = []
    with Wire(redis_server.port) as theirs, Wire(node.port) as ours:
        for wire in (theirs, ours):
            raw(wire, "HELLO", proto)
        for script in scripts:
            replies = [raw(wire, "EVAL", script, 1, "key", "arg1", "arg2") for wire in (theirs, ours)]
            if replies[0] != replies[1]:
                different.append((script, *replies))
    assert different == []


def started(node, *words):
    """A client whose script runs, and others are told so."""
    wire = Wire(node.port, limit=30)
    wire.send(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in map(str, words)))

    def is_busy():
        with Wire(node.port) as other:
            reply = other.command("PING")
        return isinstance(reply, Error) and reply.startswith("BUSY")

    wait_until(is_busy, limit=10, what="the script to be slow")
    return wire


def test_a_slow_script_lets_others_be_answered_and_is_killed(node):
    slow = started(node, "EVAL", FOR_EVER, 0)
    with Wire(node.port) as other:
        assert other.command("FUNCTION", "KILL").startswith("BUSY")
        assert other.command("MULTI") == b"OK"
        assert other.command("SET", "k", "v").startswith("BUSY")
        assert other.command("EXEC").startswith("EXECABORT Transaction discarded because of: BUSY")
        assert other.command("SHUTDOWN").startswith("BUSY")
        assert other.command("SCRIPT", "KILL") == b"OK"
        assert "killed by user" in slow.reply()
        assert other.command("PING") == b"PONG"
    slow.close()


def test_what_waits_behind_a_slow_script_is_answered(node):
    """Requests of many clients that are read together with the script's, and its own pipeline."""
    others = [Wire(node.port) for _ in range(20)]
    with Wire(node.port) as slow:
        slow.send(b"*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n" % (len(FOR_EVER), FOR_EVER.encode()))
        slow.send(b"PING\r\nPING\r\n")
        for other in others:
            other.send(b"PING\r\nGET k\r\n")
        answers = [other.reply() for other in others]
        assert {str(answer)[:4] for answer in answers} <= {"BUSY", "b'PO"}
        with Wire(node.port) as killer:
            wait_until(lambda: killer.command("SCRIPT", "KILL") == b"OK", limit=10, what="the kill")
        assert "killed by user" in slow.reply()
        assert [slow.reply(), slow.reply()] == [b"PONG", b"PONG"]
    for other in others:
        other.reply()
        assert other.command("PING") == b"PONG"
        other.close()


def test_what_a_slow_script_writes_is_seen_whole(node):
    script = "redis.call('set', 'a', 1) for i = 1, 60000000 do end redis.call('set', 'b', 1) return 'done'"
    slow = started(node, "EVAL", script, 0)
    with Wire(node.port) as other:
        assert other.command("SCRIPT", "KILL").startswith("UNKILLABLE")
        assert slow.reply() == b"done"
        assert other.command("MGET", "a", "b") == [b"1", b"1"]
    slow.close()


def test_shutdown_nosave_ends_a_script_that_writes_and_nothing_of_it_is_kept():
    directory = temp_dir("script")
    options = dict(appendonly="yes", appendfsync="always", busy_reply_threshold=20)
    node = Node(directory=directory, **options).ready()
    assert node.r.set("k", "before")
    slow = started(node, "EVAL", "redis.call('set', 'k', 'after') while true do end", 0)
    with Wire(node.port) as other:
        other.send(b"SHUTDOWN NOSAVE\r\n")
        node.wait(10)
    slow.close()
    node = Node(directory=directory, **options).ready()
    assert node.r.get("k") == "before"


def test_libraries_are_kept_by_the_log_and_by_dumps():
    for kept in (dict(appendonly="yes"), {}):
        directory = temp_dir("libraries")
        node = Node(directory=directory, **kept).ready()
        assert node.r.execute_command("FUNCTION", "LOAD", LIBRARY) == "lib"
        assert "appendonly" in kept or node.r.save()
        node.stop()
        node = Node(directory=directory, **kept).ready()
        assert node.r.execute_command("FCALL", "f", 1, "x", "y") == ["x", "y"]
        assert node.r.execute_command("FUNCTION", "FLUSH") == "OK"
        assert "appendonly" in kept or node.r.save()
        node.stop()
        node = Node(directory=directory, **kept).ready()
        assert node.r.execute_command("FUNCTION", "LIST") == []
        node.stop()


def test_redis_reads_the_libraries_of_a_dump():
    directory = temp_dir("dump")
    node = Node(directory=directory).ready()
    assert node.r.execute_command("FUNCTION", "LOAD", LIBRARY) == "lib"
    with node.wire() as wire:
        payload = wire.command("FUNCTION", "DUMP")
    assert node.r.save()
    node.stop()
    redis_server = RedisServer(dir=directory).ready()
    assert redis_server.r.execute_command("FCALL", "f", 1, "x", "y") == ["x", "y"]
    assert redis_server.r.execute_command("FUNCTION", "RESTORE", payload, "REPLACE") == "OK"
    with redis_server.wire() as wire:
        theirs = wire.command("FUNCTION", "DUMP")
    node = Node().ready()
    assert node.r.execute_command("FUNCTION", "RESTORE", theirs) == "OK"
    assert node.r.execute_command("FCALL", "f", 1, "x", "y") == ["x", "y"]


def test_many_scripts_at_once_count_right(node):
    def count():
        with Wire(node.port) as wire:
            for _ in range(300):
                wire.command("EVAL", "local n = redis.call('get', KEYS[1]) or 0 "
                             "return redis.call('set', KEYS[1], n + 1)", 1, "n")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert node.r.get("n") == "1200"
