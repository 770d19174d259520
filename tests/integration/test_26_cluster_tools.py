"""redis-cli --cluster against a cluster of Shoal, as an operator of Redis Cluster uses it: addressed
to any node, and to the proxy. Slots go with their whole shards, at once, by the coordinator."""
import re
import subprocess
import threading

import pytest
from support.cluster import Cluster
from support.process import free_port
from support.programs import Node, RedisServer
from support.wait import PATIENCE, wait_until
from support.wire import Error, encode


def tool(command, server, *words, ok=True):
    """redis-cli --cluster COMMAND; its output, without colours. Slots are moved one by one: the
    output says so, which nobody reads."""
    done = subprocess.run(
        ["redis-cli", "--cluster", command, f"127.0.0.1:{server.port}", *[str(word) for word in words]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60 * PATIENCE,
        text=True,
        check=False,
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert (done.returncode == 0) == ok, text[-3000:]
    return text


@pytest.fixture(scope="module")
def cluster():
    """Three nodes with two copies of 32 shards, and keys; nothing moves by itself, and a node that
    stands still for a while is not found dead."""
    made = Cluster(shards=32, rebalance_on_join="no", min_nodes=3, unhealthy_missed=500, dead_missed=1000)
    for name in "abc":
        made.start_node(name)
    for one in [made.proxy, *made.nodes.values()]:
        one.lasting = True
    made.wait_even()
    made.proxy.r.mset({f"key:{i}": i for i in range(1000)})
    yield made
    for one in [*made.nodes.values(), made.proxy]:
        assert one.stop() == 0, one.output(50)


def keys_are_there(cluster):
    reply = cluster.proxy.r.mget([f"key:{i}" for i in range(1000)])
    assert reply == [str(i) for i in range(1000)]


def nodes_lines(server):
    with server.wire() as wire:
        return wire.command("CLUSTER", "NODES").decode().splitlines()


def slots_of(server):
    """By node id: how many slots, as this server says."""
    counts = {}
    for line in nodes_lines(server):
        words = line.split()
        ranges = [word.split("-") for word in words[8:]]
        counts[words[0]] = sum(int(pair[-1]) - int(pair[0]) + 1 for pair in ranges)
    return counts


def id_of(node):
    with node.wire() as wire:
        return wire.command("CLUSTER", "MYID").decode()


def test_check_info_and_call_at_a_node(cluster):
    for node in cluster.nodes.values():
        text = tool("check", node)
        assert "[OK] All 16384 slots covered." in text and "[ERR]" not in text
        assert "[OK] All nodes agree about slots configuration." in text
        assert text.count(" slots) master") == 3
    text = tool("info", cluster.nodes["a"])
    assert "[OK] 1000 keys in 3 masters." in text
    text = tool("call", cluster.nodes["a"], "ping")
    assert text.count("PONG") == 3
    text = tool("fix", cluster.nodes["b"])
    assert "[OK] All 16384 slots covered." in text


def test_the_proxy_is_one_node_of_a_healthy_cluster(cluster):
    text = tool("check", cluster.proxy)
    assert "[OK] All 16384 slots covered." in text and "[ERR]" not in text
    assert "[OK] 1000 keys in 1 masters." in tool("info", cluster.proxy)
    assert tool("call", cluster.proxy, "ping").count("PONG") == 1
    assert "No rebalancing needed" in tool("rebalance", cluster.proxy)
    text = tool("del-node", cluster.proxy, id_of(cluster.nodes["a"]), ok=False)
    assert "[ERR] No such node ID" in text


def test_the_proxy_that_shows_the_nodes(cluster):
    """With `cluster-view nodes` the proxy stands among them, as nobody's server."""
    proxy = cluster.proxy
    proxy.r.config_set("cluster-view", "nodes")
    try:
        assert nodes_lines(proxy)[0].split()[2] == "myself,slave"
        text = tool("check", proxy)
        assert text.count(" slots) master") == 3 and "[OK] All 16384 slots covered." in text
        assert "[OK] All nodes agree about slots configuration." in text
        assert "[OK] 1000 keys in 3 masters." in tool("info", proxy)
        assert tool("call", proxy, "ping").count("PONG") == 4
        a, b = cluster.nodes["a"], cluster.nodes["b"]
        before = slots_of(a)
        tool("reshard", proxy, "--cluster-from", id_of(a), "--cluster-to", id_of(b),
             "--cluster-slots", 512, "--cluster-yes")
        assert slots_of(a)[id_of(b)] == before[id_of(b)] + 512
        tool("reshard", proxy, "--cluster-from", id_of(b), "--cluster-to", id_of(a),
             "--cluster-slots", 512, "--cluster-yes")
    finally:
        proxy.r.config_set("cluster-view", "proxy")
    keys_are_there(cluster)


def test_reshard_of_whole_shards(cluster):
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    before = slots_of(a)
    tool("reshard", a, "--cluster-from", id_of(a), "--cluster-to", id_of(b), "--cluster-slots", 1024,
         "--cluster-yes")
    after = slots_of(a)
    assert after[id_of(b)] == before[id_of(b)] + 1024
    assert after[id_of(a)] == before[id_of(a)] - 1024
    for node in cluster.nodes.values():  # the answer came when all of them knew
        assert slots_of(node) == after
    keys_are_there(cluster)
    assert "[OK] All 16384 slots covered." in tool("check", b)


def test_reshard_under_load_loses_and_repeats_nothing(cluster):
    """Counters that are counted up through the proxy all the while."""
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    over, counted, failed = threading.Event(), [0], []

    def count():
        try:
            with cluster.proxy.wire(limit=60) as wire:
                while not over.is_set():
                    wire.send(b"".join(encode("INCR", f"count:{i}") for i in range(100)))
                    replies = [wire.reply() for _ in range(100)]
                    failed.extend(reply for reply in replies if isinstance(reply, Error))
                    counted[0] += 1
        except Exception as error:  # pylint: disable=broad-except
            failed.append(error)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        for source, target in ((a, b), (b, a)):
            tool("reshard", a, "--cluster-from", id_of(source), "--cluster-to", id_of(target),
                 "--cluster-slots", 2048, "--cluster-yes")
    finally:
        over.set()
        thread.join()
    assert failed == [] and counted[0] > 0
    assert cluster.proxy.r.mget([f"count:{i}" for i in range(100)]) == [str(counted[0])] * 100
    cluster.proxy.r.delete(*[f"count:{i}" for i in range(100)])


def test_a_part_of_a_shard_takes_the_rest_along(cluster):
    b, c = cluster.nodes["b"], cluster.nodes["c"]
    before = slots_of(b)
    tool("reshard", c, "--cluster-from", id_of(b), "--cluster-to", id_of(c), "--cluster-slots", 513,
         "--cluster-yes")
    after = slots_of(c)
    assert after[id_of(c)] == before[id_of(c)] + 1024
    keys_are_there(cluster)


def test_rebalance_evens_out(cluster):
    tool("rebalance", cluster.nodes["a"], "--cluster-threshold", 5)
    counts = slots_of(cluster.nodes["a"]).values()
    assert sum(counts) == 16384 and max(counts) - min(counts) <= 2 * 512, counts
    keys_are_there(cluster)


def test_a_move_that_cannot_be_is_refused_before_anything_moved(cluster):
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    before = slots_of(a)
    with cluster.proxy.wire() as wire:
        assert wire.command("CLUSTER", "REBALANCE", "PAUSE") == b"OK"
        text = tool("reshard", a, "--cluster-from", id_of(a), "--cluster-to", id_of(b),
                    "--cluster-slots", 512, "--cluster-yes", ok=False)
        assert "Moves are paused" in text
        assert wire.command("CLUSTER", "REBALANCE", "RESUME") == b"OK"
    assert slots_of(a) == before


def test_operators_ask_any_node(cluster):
    c = cluster.nodes["c"]
    with c.wire() as wire:
        assert any(b"nodes=3 healthy=3" in line for line in wire.command("PROXY", "INFO"))
        assert len(wire.command("PROXY", "SHARDS")) == 32
        assert wire.command("CLUSTER", "REBALANCE", "PLAN")[0].startswith(b"moves=")
        assert wire.command("CLUSTER", "SETSLOT", "0", "STABLE") == b"OK"
        assert wire.command("CLUSTER", "SETSLOT", "99999", "STABLE").startswith("ERR Invalid or out of range")
        assert wire.command("CLUSTER", "ADDSLOTS", "5").startswith("ERR Shoal assigns slots")
        assert wire.command("CLUSTER", "RESET").startswith("ERR CLUSTER RESET can't be called with")
        assert wire.command("CLUSTER", "RESET", "HARD").startswith("ERR A node keeps its id")
        assert wire.command("MULTI") == b"OK"
        assert wire.command("PROXY", "INFO") == b"QUEUED"
        assert "not served in transactions" in wire.command("EXEC")[0]


def test_setslot_at_the_proxy_moves_the_shard(cluster):
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    before = slots_of(b)
    line = next(line for line in nodes_lines(a) if "myself" in line)
    slot = line.split()[8].split("-")[0]
    with cluster.proxy.wire(limit=30) as wire:
        assert wire.command("CLUSTER", "SETSLOT", slot, "NODE", id_of(b)) == b"OK"
    wait_until(lambda: slots_of(b)[id_of(b)] == before[id_of(b)] + 512, 10, "the node to know")
    keys_are_there(cluster)


def test_add_node_and_del_node(cluster):
    a = cluster.nodes["a"]
    new = Node(name="new", stand_alone="no").ready()
    assert nodes_lines(new)[0].split()[2] == "myself,master"
    text = tool("add-node", new, f"127.0.0.1:{a.port}")
    assert "[OK] New node added correctly." in text
    with new.wire() as wire:  # it is a member by then
        assert b"shoal_agent_state:member" in wire.command("INFO", "cluster")
    wait_until(lambda: id_of(new) in slots_of(a), 10, "the node to be on the map")
    assert "not empty" in tool("add-node", new, f"127.0.0.1:{a.port}", ok=False)
    tool("reshard", a, "--cluster-from", "all", "--cluster-to", id_of(new), "--cluster-slots", 1536,
         "--cluster-yes")
    got = slots_of(a)[id_of(new)]  # each source gave whole shards
    assert got >= 1536 and got % 512 == 0
    keys_are_there(cluster)
    assert "is not empty" in tool("del-node", a, id_of(new), ok=False)
    tool("reshard", a, "--cluster-from", id_of(new), "--cluster-to", id_of(a), "--cluster-slots", got,
         "--cluster-yes")
    text = tool("del-node", a, id_of(new))
    assert "CLUSTER RESET SOFT" in text and "[ERR]" not in text
    assert id_of(new) not in slots_of(a)
    keys_are_there(cluster)
    with new.wire() as wire:
        assert b"shoal_agent_state:idle" in wire.command("INFO", "cluster")
        assert b"cluster_known_nodes:1" in wire.command("CLUSTER", "INFO")
    # By the proxy's address, too; and it may come back.
    assert "[OK] New node added correctly." in tool("add-node", new, f"127.0.0.1:{cluster.proxy.port}")
    text = tool("del-node", a, id_of(new))
    assert id_of(new) not in slots_of(a)


def test_a_replica_of_a_node_there_is_not(cluster):
    a = cluster.nodes["a"]
    new = Node(name="new", stand_alone="no").ready()
    text = tool("add-node", new, f"127.0.0.1:{a.port}", "--cluster-slave", ok=False)
    assert "Shoal assigns slots and replicas itself" in text
    tool("del-node", a, id_of(new))


def test_meet_says_why_not(cluster):
    new = Node(name="new", stand_alone="no").ready()
    nobody = free_port()
    with new.wire() as wire:
        reply = wire.command("CLUSTER", "MEET", "127.0.0.1", nobody)
        assert reply == "ERR Not joined: Connection refused"
        other = Node(name="other", stand_alone="no").ready()
        reply = wire.command("CLUSTER", "MEET", "127.0.0.1", other.port)
        assert reply.startswith("ERR Not joined: who is there is in no cluster of Shoal")
        assert wire.command("CLUSTER", "MEET", "127.0.0.1", cluster.nodes["a"].port, 12345) == b"OK"
    tool("del-node", cluster.nodes["a"], id_of(new))


def test_create_is_refused(cluster):
    nodes = [Node(name=f"new-{i}", stand_alone="no").ready() for i in range(3)]
    more = [f"127.0.0.1:{node.port}" for node in nodes[1:]] + ["--cluster-yes"]
    text = tool("create", nodes[0], *more, ok=False)
    assert "a shoal-proxy makes one" in text
    text = tool("create", cluster.nodes["a"], *more, ok=False)
    assert "is not empty. Either the node already knows other nodes" in text
    text = tool("create", cluster.proxy, *more, ok=False)
    assert "is not empty" in text


def test_backup(cluster, tmp_path):
    text = tool("backup", cluster.nodes["a"], tmp_path)
    assert "[OK] Backup created into" in text
    files = sorted(tmp_path.glob("*.rdb"))
    assert len(files) == 3
    keys = 0
    for file in files:
        done = subprocess.run(["redis-check-rdb", file], stdout=subprocess.PIPE, text=True, check=True)
        keys += int(re.search(r"(\d+) keys read", done.stdout).group(1))
    assert keys == cluster.proxy.r.dbsize()
    text = tool("backup", cluster.proxy, tmp_path, ok=False)
    assert "a proxy keeps no data" in text


def test_functions_as_a_file(cluster, tmp_path):
    code = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
    assert cluster.proxy.r.execute_command("FUNCTION LOAD", code) == "lib"
    node = cluster.nodes["a"]
    path = tmp_path / "functions.rdb"
    code, text = node.cli("--functions-rdb", path)
    assert code == 0 and b"register_function" in path.read_bytes(), text
    cluster.proxy.r.execute_command("FUNCTION FLUSH")


@pytest.mark.parametrize("to", ["node", "proxy"])
def test_import_from_a_redis(cluster, to):
    source = RedisServer().ready()
    source.r.mset({f"imported:{to}:{i}": i for i in range(50)})
    source.r.rpush(f"imported:{to}:list", "a", "b")
    target = cluster.proxy if to == "proxy" else cluster.nodes["b"]
    text = tool("import", target, "--cluster-from", f"127.0.0.1:{source.port}")
    assert text.count("OK\n") >= 51
    assert source.r.dbsize() == 0
    r = cluster.proxy.r
    assert [r.get(f"imported:{to}:{i}") for i in range(50)] == [str(i) for i in range(50)]
    assert r.lrange(f"imported:{to}:list", 0, -1) == ["a", "b"]


def test_who_asked_may_go_while_the_answer_waits(cluster):
    """The node that is to take the shard stands still: the move waits, its askers do not."""
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    slot = next(line for line in nodes_lines(a) if "myself" in line).split()[8].split("-")[0]
    move = ("CLUSTER", "SETSLOT", slot, "MIGRATING", id_of(b))

    def waiting(count):
        return wait_until(
            lambda: sum(client["cmd"] == "cluster|setslot" for client in a.r.client_list()) == count,
            10, f"{count} clients to wait",
        )

    b.pause()
    try:
        for _ in range(5):
            with a.wire() as wire:
                wire.send(encode(*move) + encode("PING"))
                waiting(1)
            waiting(0)
        with a.wire() as killed:
            killed.send(encode(*move))
            waiting(1)
            client = next(client for client in a.r.client_list() if client["cmd"] == "cluster|setslot")
            assert a.r.client_kill_filter(_id=client["id"]) == 1
            assert killed.is_closed()
        with cluster.proxy.wire() as wire:
            wire.send(encode(*move[:3], "NODE", move[4]))
        with a.wire(limit=30) as wire:
            wire.send(encode(*move) + encode("PING"))
            waiting(1)
            b.resume()
            assert wire.reply() == b"OK" and wire.reply() == b"PONG"
    finally:
        b.resume()
    keys_are_there(cluster)
