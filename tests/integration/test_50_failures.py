"""Nodes that die or hang, and a coordinator that is killed, seen by clients under way."""
import random
import threading
import time

import pytest
from support.cluster import Cluster, View
from support.process import temp_dir
from support.programs import Node, Proxy
from support.wait import wait_until
from support.wire import Closed, Error, Wire, encode


class Load:
    """Clients that set and read their own keys and note everything that was not as it should be."""

    def __init__(self, port, keys, clients=4):
        self.port, self.keys = port, keys
        self.stop_now = threading.Event()
        self.errors = []
        self.rounds = 0
        self.threads = [
            threading.Thread(target=self.run, args=(keys[number::clients],)) for number in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, keys):
        with Wire(self.port, limit=60) as wire:
            number = 0
            while not self.stop_now.is_set():
                number += 1
                for key in keys:
                    for request in (("SET", key, number), ("GET", key)):
                        reply = wire.command(*request)
                        good = b"OK" if request[0] == "SET" else str(number).encode()
                        if reply != good:
                            self.errors.append((request, reply))
                self.rounds += 1

    def stop(self):
        self.stop_now.set()
        for thread in self.threads:
            thread.join()
        return self.errors

    def goes_on(self, rounds=20):
        """Waits until it has done so many more rounds."""
        target = self.rounds + rounds
        wait_until(lambda: self.rounds >= target, limit=30, what="the clients to go on")


@pytest.fixture
def cluster():
    made = Cluster(min_nodes=3, replication_factor=1, lease="100ms", request_timeout="2s", failover_hold="500ms")
    for name in "ABC":
        made.start_node(name)
    made.wait_even()
    return made


def test_other_shards_go_on_while_a_node_is_dead(cluster):
    keys = cluster.keys_of("A", 20) + cluster.keys_of("C", 20)
    load = Load(cluster.proxy.port, keys)
    load.goes_on()
    cluster.nodes["B"].kill()
    wait_until(lambda: cluster.state("B") == "dead")
    load.goes_on(50)
    cluster.start_node("B")
    wait_until(lambda: cluster.state("B") == "healthy")
    load.goes_on()
    assert load.stop() == []


def test_other_shards_go_on_while_a_node_hangs(cluster):
    keys = cluster.keys_of("A", 20) + cluster.keys_of("C", 20)
    mine = cluster.keys_of("B", 10)
    load = Load(cluster.proxy.port, keys)
    load.goes_on()
    cluster.nodes["B"].pause()
    # Clients that do ask it get an answer, if only an error, within the configured limit.
    asking = [Wire(cluster.proxy.port, limit=10) for _ in mine]
    for wire, key in zip(asking, mine):
        wire.send(encode("GET", key))
    for wire in asking:
        assert isinstance(wire.reply(), Error)
        wire.close()
    wait_until(lambda: cluster.state("B") == "dead")
    load.goes_on(50)
    cluster.nodes["B"].resume()
    wait_until(lambda: cluster.state("B") == "healthy")
    load.goes_on()
    assert load.stop() == []
    with cluster.proxy.wire() as wire:
        for key in mine:
            assert wire.command("GET", key) is None


def test_a_node_that_lives_but_turns_proxies_away_says_why(cluster):
    """Protected mode, another password: it goes on registering, and clients learn what is wrong with it."""
    node, key = cluster.nodes["A"], cluster.keys_of("A", 1)[0]
    with node.wire() as wire, cluster.proxy.wire(limit=60) as client:
        assert client.command("SET", key, 1) == b"OK"
        assert "turns-away" not in cluster.row("A")
        assert wire.command("CONFIG", "SET", "requirepass", "another") == b"OK"
        wire.command("AUTH", "another")
        for line in wire.command("CLIENT", "LIST").decode().splitlines():
            words = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if words["id"] != str(wire.command("CLIENT", "ID")):
                wire.command("CLIENT", "KILL", "ID", words["id"])

        def refused():
            reply = client.command("GET", key)
            return isinstance(reply, Error) and "NOAUTH" in reply and cluster.row("A").get("turns-away")

        assert "NOAUTH" in wait_until(refused, 30, "the refusal to be told")
        assert cluster.state("A") == "healthy"
        assert "node turns proxies away" in cluster.proxy.output()
        assert wire.command("CONFIG", "SET", "requirepass", "") == b"OK"
        wait_until(lambda: client.command("GET", key) == b"1", 30, "it to serve again")


def test_a_pipeline_over_a_hanging_node_ends_in_order(cluster):
    """Replies behind the one that is late wait for it, and none is lost or changes place."""
    a, b, c = (cluster.keys_of(name, 5) for name in "ABC")
    with cluster.proxy.wire() as wire:
        for number, key in enumerate(a + b + c):
            assert wire.command("SET", key, number) == b"OK"
    cluster.nodes["B"].pause()
    with cluster.proxy.wire(limit=20) as wire:
        wire.send(b"".join(encode("GET", key) for key in (a[0], b[0], c[0], b[1], a[1])))
        replies = [wire.reply() for _ in range(5)]
    assert [replies[0], replies[2], replies[4]] == [b"0", b"10", b"1"]
    assert isinstance(replies[1], Error) and isinstance(replies[3], Error)
    cluster.nodes["B"].resume()


def test_commands_over_many_nodes_end_when_one_hangs(cluster):
    keys = [key for name in "ABC" for key in cluster.keys_of(name, 3)]
    cluster.proxy.r.mset({key: "v" for key in keys})
    cluster.nodes["B"].pause()
    for command in (["MGET", *keys], ["DEL", *keys], ["DBSIZE"], ["KEYS", "*"]):
        with cluster.proxy.wire(limit=20) as wire:
            assert isinstance(wire.command(*command), Error), command
            assert wire.command("PING") == b"PONG"
    cluster.nodes["B"].resume()


def test_late_replies_reach_nobody(cluster):
    """The answers of a node that wakes up after its requests timed out are thrown away: the next
    request gets its own."""
    keys = cluster.keys_of("B", 50)
    cluster.proxy.r.mset({key: key for key in keys})
    for _ in range(3):
        cluster.nodes["B"].pause()
        wires = [Wire(cluster.proxy.port, limit=20) for _ in range(10)]
        for wire, key in zip(wires, keys):
            wire.send(encode("GET", key))
        for wire in wires:
            assert isinstance(wire.reply(), Error)
        cluster.nodes["B"].resume()
        wait_until(lambda: cluster.state("B") == "healthy")
        other = keys[20]
        wait_until(lambda: wires[0].command("GET", other) == other.encode())
        for wire, key in zip(wires, keys[20:]):
            assert wire.command("GET", key) == key.encode()
            wire.close()


def test_a_local_node_that_dies_is_started_again():
    import os
    import signal

    proxy = Proxy(local_nodes=3).ready()
    view = View(proxy)
    before = set(proxy.children())
    victim = sorted(before)[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(set(proxy.children()) - before) == 1, what="a new process")

    def all_well():
        states = [row["state"] for row in view.nodes().values()]
        return states == ["healthy"] * 3 and view.served()

    def all_written():
        # The view may still be the one from before the death, and a write then has no known fate.
        with proxy.wire() as wire:
            return all(wire.command("SET", f"k:{number}", "v") == b"OK" for number in range(200))

    wait_until(all_well, limit=20)
    wait_until(all_written, limit=20)
    assert all_well()


def test_a_storm_of_connections(proxy):
    """Clients that come and go by the hundred do not disturb those that stay."""
    keys = [f"stay:{i}" for i in range(40)]
    load = Load(proxy.port, keys)
    for _ in range(20):
        crowd = []
        for number in range(100):
            wire = Wire(proxy.port)
            wire.send(encode("GET", f"x:{number}")[: number % 25])
            crowd.append(wire)
        for wire in crowd:
            wire.close()
    load.goes_on(5)
    assert load.stop() == []


def test_the_coordinator_forgets_nothing_when_it_is_killed():
    """kill -9 at random moments while nodes join, are drained and come back. Whatever a node was
    told is still true after the restart: epochs never go back, and in the end all agree."""
    rng = random.Random(5)
    directory = temp_dir("coordinator")
    cluster = Cluster(min_nodes=2, directory=directory)
    for name in "AB":
        cluster.start_node(name)
    cluster.wait_even()

    def node_epochs():
        epochs = []
        for node in cluster.nodes.values():
            with node.wire() as wire:
                text = wire.command("CLUSTER", "INFO").decode()
            info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            epochs.append(int(info["cluster_current_epoch"]))
        return epochs

    for number in range(12):
        seen = max(node_epochs())
        try:
            with cluster.proxy.wire(limit=5) as wire:
                if number in (2, 5):
                    cluster.start_node("CD"[number == 5]).ready()
                names = [n for n in cluster.nodes if n in "CD"] or ["B"]
                port = cluster.nodes[rng.choice(names)].port
                words = ["CLUSTER", "DRAIN", f"127.0.0.1:{port}"] + ["CANCEL"] * rng.randrange(2)
                wire.send(encode(*words))
                if rng.random() < 0.5:
                    wire.reply()
        except (Closed, OSError):
            pass
        # A moment that is different every time: the work under way takes a few milliseconds.
        deadline = time.monotonic() + rng.random() * 0.05
        while time.monotonic() < deadline:
            pass
        cluster.proxy.kill()
        seen = max(seen, *node_epochs())
        cluster.proxy.start()
        cluster.proxy.ready()
        epoch = int(View(cluster.proxy).info()["cluster_current_epoch"])
        assert epoch >= seen, f"round {number}: the coordinator is at {epoch}, a node at {seen}"

    for node in cluster.nodes.values():
        with cluster.proxy.wire() as wire:
            assert not isinstance(wire.command("CLUSTER", "DRAIN", f"127.0.0.1:{node.port}", "CANCEL"), Error)
    with cluster.proxy.wire() as wire:
        wire.command("CLUSTER", "REBALANCE", "START")
    cluster.wait_even()

    def agree():
        return set(node_epochs()) == {int(View(cluster.proxy).info()["cluster_current_epoch"])}

    wait_until(agree, what="nodes and coordinator to be at one epoch")
    with cluster.proxy.wire() as wire:
        for number in range(300):
            assert wire.command("SET", f"k:{number}", number) == b"OK"


def test_nodes_and_coordinator_may_have_names():
    """127.1 is no number that is taken as it stands: it is looked up, as names are, without a name server."""
    cluster = Cluster(min_nodes=3, replication_factor=2)
    for name in "ABC":
        cluster.nodes[name] = Node(
            coordinator=f"127.1:{cluster.control_port}", name=f"node-{name}", announce_host="127.1"
        )
    cluster.wait_whole()
    cluster.wait_served()
    assert all(row["addr"].startswith("127.1:") for row in cluster.view.nodes().values())
    with cluster.proxy.wire(limit=30) as wire:
        for number in range(100):
            assert wire.command("SET", f"key:{number}", number) == b"OK"
        cluster.nodes["B"].kill()
        for number in range(100):
            assert wire.command("GET", f"key:{number}") == str(number).encode()
            assert wire.command("SET", f"key:{number}", -number) == b"OK"
        assert cluster.state("B") == "dead"
