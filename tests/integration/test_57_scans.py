"""What SCAN and its kin promise holds over failovers and moves: whatever is there from the first call to the last is found."""
import pytest
from support.cluster import Cluster
from support.wait import wait_until

N = 3000


@pytest.fixture
def cluster():
    made = Cluster(min_nodes=3, shards=8, lease="1s")
    for name in "ABC":
        made.start_node(name)
    made.wait_even()
    made.wait_whole()
    return made


def walk(wire, command, *words, between=None):
    """All that a walk finds; `between` is called once, when a quarter is behind it."""
    found, cursor, steps = set(), b"0", 0
    while True:
        cursor, items = wire.command(command, *words, cursor, "COUNT", 50)
        found.update(items)
        steps += 1
        if steps == N // 50 // 4 and between is not None:
            between()
        if cursor == b"0":
            return found


def fill(wire, cluster, what):
    key = cluster.keys_of("A", 1, "big")[0]
    for start in range(0, N, 500):
        names = [f"member:{i}" for i in range(start, start + 500)]
        if what == "SSCAN":
            wire.command("SADD", key, *names)
        elif what == "HSCAN":
            wire.command("HSET", key, *[word for name in names for word in (name, "v")])
        elif what == "ZSCAN":
            wire.command("ZADD", key, *[word for i, name in enumerate(names, start) for word in (i, name)])
        else:
            wire.command("MSET", *[word for name in names for word in (name, "v")])
    return [] if what == "SCAN" else [key]


def kill(cluster):
    cluster.nodes["A"].kill()
    wait_until(lambda: cluster.state("A") == "dead", 20)


def hand_over(cluster):
    cluster.proxy.cli("CLUSTER", "FAILOVER", cluster.row("A")["id"])
    wait_until(lambda: cluster.row("A")["primary"] == "0", 20, "A to be primary of nothing")


@pytest.mark.parametrize("change", [kill, hand_over])
@pytest.mark.parametrize("what", ["SSCAN", "HSCAN", "ZSCAN", "SCAN"])
def test_a_walk_goes_on_at_the_next_primary(cluster, change, what):
    with cluster.proxy.wire(limit=60) as wire:
        found = walk(wire, what, *fill(wire, cluster, what), between=lambda: change(cluster))
        expected = {f"member:{i}".encode() for i in range(N)}
        assert expected - found == set()
