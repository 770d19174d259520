"""Writes happen exactly once, whatever breaks: nodes that are killed, connections that are cut in the
midst of anything, nodes that stand still, shards that are handed over. Every client knows each reply
that it must get; what all count together must come out exactly."""
import random
import select
import socket
import struct
import threading
import time

import pytest
from support.cluster import Cluster
from support.process import free_port
from support.talkers import Incomplete, Replies
from support.wait import PATIENCE, wait_until
from support.wire import Error, encode

SHARED = [f"shared:{number}" for number in range(20)]


class Counter:
    """A client that counts with pipelines: its own keys, of which it knows every reply, and shared
    ones."""

    def __init__(self, port, number, depth, single=False):
        self.number, self.depth, self.single = number, depth, single
        self.wrong, self.errors = [], []
        self.own, self.shared, self.rounds = {}, {}, 0
        self.slowest = 0.0
        self.last = 0
        self.stopped = threading.Event()
        self.rng = random.Random(number)
        self.thread = threading.Thread(target=self.run, args=(port,))
        self.thread.start()

    def batch(self):
        """Commands, and for each how its reply is checked."""
        commands, checks = [], []
        for _ in range(self.depth):
            key = f"own:{self.number}:{self.rng.randrange(30)}"
            pick = self.rng.uniform(0.1 if self.single else 0, 1)
            if pick < 0.05:
                self.own[key] = self.own.get(key, 0) + 1
                commands += [("MULTI",), ("INCR", key), ("EXEC",)]
                checks += [b"OK", b"QUEUED", [self.own[key]]]
            elif pick < 0.1:
                # Over several shards: what it sets must be there. Not the same keys within a batch:
                # a read that was lost is not repeated behind a later write of what it reads.
                self.last += 1
                keys = [f"many:{self.number}:{self.last % 40}:{n}" for n in range(3)]
                commands.append(("MSET", *(word for one in keys for word in (one, self.last))))
                checks.append(b"OK")
                commands.append(("MGET", *keys))
                checks.append([str(self.last).encode()] * 3)
            elif pick < 0.5:
                self.own[key] = self.own.get(key, 0) + 1
                commands.append(("INCR", key))
                checks.append(self.own[key])
            elif pick < 0.7:
                self.own["a" + key] = self.own.get("a" + key, 0) + 1
                commands.append(("APPEND", "a" + key, "x"))
                checks.append(self.own["a" + key])
            elif pick < 0.8:
                self.own["n" + key] = self.own.get("n" + key, 0) + 1
                commands.append(("SETNX", f"n{key}:{self.own['n' + key]}", "1"))
                checks.append(1)
            else:
                key = self.rng.choice(SHARED)
                commands.append(("INCR", key))
                checks.append(key)
        return commands, checks

    def run(self, port):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(60 * PATIENCE)
            while not self.stopped.is_set() and not self.wrong and not self.errors:
                commands, checks = self.batch()
                started = time.monotonic()
                sock.sendall(b"".join(encode(*command) for command in commands))
                self.listen(sock, commands, checks)
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.rounds += 1

    def listen(self, sock, commands, checks):
        replies, at = Replies(), 0
        while at < len(checks):
            data = sock.recv(1 << 16)
            if not data:
                self.errors.append("closed")
                return
            replies.feed(data)
            try:
                while at < len(checks):
                    self.check(commands[at], checks[at], replies.next())
                    at += 1
            except Incomplete:
                pass

    def check(self, command, expected, reply):
        parts = reply if isinstance(reply, list) else [reply]
        if any(isinstance(one, Error) for one in parts):
            self.errors.append((command, reply))
        elif isinstance(expected, str):
            self.shared[expected] = self.shared.get(expected, 0) + 1
        elif reply != expected:
            self.wrong.append((command, expected, reply))


INCR = "return redis.call('incr', ARGV[1])"
LOOK_AND_INCR = "redis.call('exists', ARGV[1]) return redis.call('incr', ARGV[1])"
LIBRARY = "#!lua name=counts\nredis.register_function('count', function(keys, args) return redis.call('incr', args[1]) end)"


class ScriptCounter(Counter):
    """It counts with scripts that do not name their keys: only the logs can tell where they ran."""

    def batch(self):
        key = f"own:{self.number}:{self.rng.randrange(30)}"
        self.own[key] = self.own.get(key, 0) + 1
        words = self.rng.choice([("EVAL", INCR, 0), ("EVAL", LOOK_AND_INCR, 0), ("FCALL", "count", 0)])
        return [(*words, key)], [self.own[key]]


class Counting:
    """Clients under way; `settle` stops them and holds what they were told against what is there."""

    def __init__(self, cluster, clients=6, kind=Counter, **more):
        self.cluster = cluster
        port = cluster.proxy.port
        self.clients = [kind(port, number, 1 + 7 * (number % 3), **more) for number in range(clients)]

    def rounds(self):
        return [client.rounds for client in self.clients]

    def go_on(self, rounds=20, limit=40):
        """Waits until each has done so many more."""
        target = [n + rounds for n in self.rounds()]

        def done():
            self.fail_early()
            return all(now >= want for now, want in zip(self.rounds(), target))

        wait_until(done, limit, "all clients to go on")

    def fail_early(self):
        for client in self.clients:
            assert not client.wrong, client.wrong[:5]
            assert not client.errors, client.errors[:5]

    def settle(self):
        for client in self.clients:
            client.stopped.set()
        for client in self.clients:
            client.thread.join()
        self.fail_early()
        shared = {}
        with self.cluster.proxy.wire(limit=30) as wire:
            for client in self.clients:
                for key, count in client.shared.items():
                    shared[key] = shared.get(key, 0) + count
                for key, count in client.own.items():
                    if key.startswith("own"):
                        assert int(wire.command("GET", key)) == count, key
                    elif key.startswith("a"):
                        assert int(wire.command("STRLEN", key)) == count, key
            for key, count in shared.items():
                assert int(wire.command("GET", key)) == count, key
        return self.cluster.proxy.info()


class Relay:
    """Stands between everybody and one node; cuts connections in the midst of a piece."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.to = None
        self.pairs, self.cut_soon = {}, set()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.rng = random.Random(self.port)
        self.n_cut = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def cut(self):
        """Every connection, each at some byte of what comes next, in either direction."""
        with self.lock:
            self.cut_soon = set(self.pairs)

    def drop(self, sock):
        """Resets both sides."""
        if sock not in self.pairs:
            return
        other = self.pairs.pop(sock)
        self.pairs.pop(other)
        for one in (sock, other):
            self.cut_soon.discard(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()

    def pass_on(self, sock):
        try:
            data = sock.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.drop(sock)
            return
        if sock in self.cut_soon:
            self.n_cut += 1
            self.send(self.pairs[sock], data[: self.rng.randrange(len(data) + 1)])
            self.drop(sock)
            return
        self.send(self.pairs[sock], data)

    def send(self, sock, data):
        try:
            sock.sendall(data)
        except OSError:
            self.drop(sock)

    def accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.to))
        except OSError:
            near.close()
            return
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs[near], self.pairs[far] = far, near

    def run(self):
        while not self.ended.is_set():
            with self.lock:
                ready, _, _ = select.select([self.listener, *self.pairs], [], [], 0.01)
                for sock in ready:
                    if sock is self.listener:
                        self.accept()
                    elif sock in self.pairs:
                        self.pass_on(sock)

    def close(self):
        self.ended.set()
        self.thread.join()
        for sock in list(self.pairs):
            self.drop(sock)
        self.listener.close()


def start(relays=None, **options):
    settings = {"min_nodes": 3, "shards": 24, "lease": "1s", "request_timeout": "10s",
                "failover_hold": "20s", "replication_factor": 2}
    settings.update(options)
    cluster = Cluster(**settings)
    for name in "ABC":
        more = {}
        if relays is not None:
            relay = relays[name] = Relay()
            more = {"port": free_port(), "announce_port": relay.port}
            relay.to = more["port"]
        cluster.start_node(name, **more)
    wait_until(cluster.view.served, 20, "every shard to be served")
    wait_until(lambda: cluster.proxy.wire().command("SET", "ready", 1) == b"OK", 20, "a write to succeed")
    if settings["replication_factor"] > 1:
        cluster.wait_whole()
    return cluster


def kill_each(cluster, counting):
    for name in "ABC":
        counting.go_on()
        cluster.nodes[name].kill()
        counting.go_on()
        cluster.start_node(name)
        counting.go_on()
        cluster.wait_whole()


def cut_all(relays, counting, times):
    counting.go_on()
    for _ in range(times):
        for relay in relays.values():
            relay.cut()
        counting.go_on(rounds=3)


def test_nodes_are_killed():
    cluster = start()
    counting = Counting(cluster)
    kill_each(cluster, counting)
    info = counting.settle()
    assert info["unknown_outcome"] == "0"
    assert int(info["resolved_replied"]) + int(info["resolved_resent"]) > 0


@pytest.mark.parametrize("copies", [1, 2])
def test_connections_are_cut(copies):
    relays = {}
    cluster = start(relays, replication_factor=copies)
    counting = Counting(cluster)
    cut_all(relays, counting, times=30)
    info = counting.settle()
    for relay in relays.values():
        relay.close()
    assert sum(relay.n_cut for relay in relays.values()) > 30
    assert info["unknown_outcome"] == "0"
    assert int(info["resolved_replied"]) > 0


def test_scripts_without_keys():
    relays = {}
    cluster = start(relays)
    with cluster.proxy.wire(limit=30) as wire:
        assert wire.command("FUNCTION", "LOAD", LIBRARY) == b"counts"
    counting = Counting(cluster, kind=ScriptCounter)
    cut_all(relays, counting, times=20)
    kill_each(cluster, counting)
    info = counting.settle()
    for relay in relays.values():
        relay.close()
    assert sum(relay.n_cut for relay in relays.values()) > 20
    assert info["unknown_outcome"] == "0"
    assert int(info["resolved_replied"]) > 0
    assert int(info["resolved_resent"]) > 0


def test_nodes_stand_still():
    # Before it is found to be dead: its connections are given up, and it may still run what it got.
    cluster = start(request_timeout="1s")
    counting = Counting(cluster, single=True)
    for name in "AB":
        counting.go_on()
        cluster.nodes[name].pause()
        counting.go_on()
        cluster.nodes[name].resume()
        counting.go_on()
        cluster.wait_whole()
    info = counting.settle()
    assert info["unknown_outcome"] == "0"


def test_primaries_are_handed_over():
    cluster = start()
    counting = Counting(cluster)
    counting.go_on()
    for name in "ABC":
        node = cluster.row(name)["id"]

        def primaries(node=node):
            return cluster.view.primary_counts().get(node, 0)

        with cluster.proxy.wire(limit=30) as wire:
            assert wire.command("CLUSTER", "DRAIN", node) == b"OK"
            wait_until(lambda: primaries() == 0, 30, "the node to be primary of nothing")
            counting.go_on()
            assert wire.command("CLUSTER", "DRAIN", node, "CANCEL") == b"OK"
            wait_until(lambda: primaries() > 0, 30, "the node to be primary of something")
        counting.go_on()
        cluster.wait_whole()
    info = counting.settle()
    assert info["unknown_outcome"] == "0"
    assert info["lanes_lost"] == "0"
