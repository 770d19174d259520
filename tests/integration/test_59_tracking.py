"""What clients keep of keys that they have read, through the proxy, while primaries change."""
import os
import random
import threading

import pytest
from support.cluster import Cluster
from support.wait import PATIENCE, wait_until
from support.wire import Error, Push

SHARDS = 16
ROUNDS = int(os.environ.get("TEST_KILLS", 4))  # kills and hand-overs under writes
KEYS = [f"key:{number}" for number in range(60)]


@pytest.fixture
def cluster():
    waits = {"failover_hold": f"{10 * PATIENCE:.0f}s", "request_timeout": f"{15 * PATIENCE:.0f}s"}
    made = Cluster(min_nodes=3, shards=SHARDS, lease="1s", **waits)
    for name in "ABC":
        made.start_node(name)
    made.wait_even()
    made.wait_whole()
    return made


class Cache:
    """A client that tracks: what it has read and was not told to forget."""

    def __init__(self, cluster, *mode):
        self.wire = cluster.proxy.wire(limit=30)
        self.values = {}
        self.told = []  # keys; None: everything
        self.wire.command("HELLO", 3)
        assert self.command("CLIENT", "TRACKING", "ON", *mode) == b"OK"

    def command(self, *words):
        """The reply; messages before it are taken in."""
        reply = self.wire.command(*words)
        while isinstance(reply, Push):
            self.take(reply)
            reply = self.wire.reply()
        return reply

    def take(self, push):
        assert push[0] == b"invalidate"
        if push[1] is None:
            self.values.clear()
            self.told.append(None)
            return
        for key in push[1]:
            self.values.pop(key.decode(), None)
            self.told.append(key.decode())

    def read(self, key):
        self.command("PING")
        if key not in self.values:
            self.values[key] = None  # a message that comes before the reply is about what was before
            reply = self.command("GET", key)
            assert not isinstance(reply, Error), reply
            self.values[key] = reply

    def hears(self, keys):
        """Whether it has been told of all of these by now."""
        self.command("PING")
        return set(self.told) >= set(keys)


def change_primaries(cluster, name, how):
    """The primaries of a node become others'."""
    if how == "killed":
        cluster.nodes[name].kill()
        wait_until(lambda: cluster.state(name) == "dead", 20, f"{name} to be found dead")
    else:
        mine = cluster.row(name)["id"]
        assert cluster.proxy.cli("CLUSTER", "FAILOVER", mine)[1].strip() == "OK"
        wait_until(lambda: cluster.row(name)["primary"] == "0", 20, f"{name} to hand over")
    cluster.wait_served()


@pytest.mark.parametrize("how", ["killed", "handed over"])
@pytest.mark.parametrize("mode", [(), ("BCAST",)], ids=["default", "BCAST"])
def test_a_cache_outlives_a_primary(cluster, how, mode):
    """Who has read what has not changed hears nothing, and still hears of each change after that."""
    keys = cluster.keys_of("A", 20) + cluster.keys_of("B", 5)
    with cluster.proxy.wire(limit=30) as writer:
        for key in keys:
            assert writer.command("SET", key, "before") == b"OK"
        cache = Cache(cluster, *mode)
        for key in keys:
            cache.read(key)
        change_primaries(cluster, "A", how)
        changed = [keys[0]]
        assert writer.command("SET", keys[0], "after") == b"OK"
        wait_until(lambda: cache.hears(changed), 20, "the change to be told")
        for key in keys[1:10] + keys[22:]:
            assert writer.command("SET", key, "after") == b"OK"
            changed.append(key)
        wait_until(lambda: cache.hears(changed), 20, "the changes to be told")
        assert sorted(cache.told) == sorted(changed)
        assert set(cache.values) == set(keys) - set(changed)


@pytest.mark.parametrize("mode", [(), ("BCAST",)], ids=["default", "BCAST"])
def test_no_change_is_missed_while_primaries_change(cluster, mode):
    caches = [Cache(cluster, *mode) for _ in range(3)]
    done = threading.Event()
    failed = []

    def write(seed):
        rng = random.Random(seed)
        try:
            with cluster.proxy.wire(limit=60) as wire:
                while not done.is_set():
                    reply = wire.command("INCR", rng.choice(KEYS[seed::2]))
                    assert isinstance(reply, int) or reply.startswith("UNKNOWNOUTCOME"), reply
                    done.wait(0.002)
        except Exception as error:
            failed.append(error)

    def read(cache, seed):
        rng = random.Random(seed)
        try:
            while not done.is_set():
                cache.read(rng.choice(KEYS))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    threads += [threading.Thread(target=read, args=(cache, seed)) for seed, cache in enumerate(caches)]
    for thread in threads:
        thread.start()
    try:
        for number in range(ROUNDS):
            name = "ABC"[number % 3]
            change_primaries(cluster, name, ("killed", "handed over")[number % 2])
            if not cluster.nodes[name].alive():
                cluster.start_node(name)
            wait_until(lambda: cluster.state(name) == "healthy", 30, f"{name} to be back")
            cluster.wait_whole()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failed, failed[0]
    with cluster.proxy.wire(limit=30) as wire:
        now = dict(zip(KEYS, wire.command("MGET", *KEYS)))

    def right(cache):
        """What changed while nobody served it may be told a moment later; then all of it is kept."""
        for key in KEYS:
            cache.read(key)
        cache.command("PING")
        return cache.values == now

    for cache in caches:
        assert cache.told
        wait_until(lambda: right(cache), 30, "what is kept to be what is there")
