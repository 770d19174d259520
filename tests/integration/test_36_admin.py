"""What the proxy answers itself, over all its workers and nodes."""
import os
import signal
import threading

import pytest
import redis
from support.cluster import View
from support.programs import Proxy
from support.wait import wait_until
from support.wire import Error, Wire


@pytest.fixture(scope="module")
def proxy():
    server = Proxy(local_nodes=3, workers=2, enable_debug_command="yes").ready()
    server.lasting = True
    wait_until(lambda: server.info("shoal").get("assigned") == "yes", 15)
    yield server
    code = server.stop()
    assert code == 0, server.output(50)


@pytest.fixture
def crowd(proxy):
    """Connections enough to be on both workers."""
    clients = [proxy.client(client_name=f"crowd-{i}", single_connection_client=True) for i in range(12)]
    yield clients
    for client in clients:
        client.close()


def names(listing):
    return {one["name"] for one in listing}


def test_client_list_and_kill_reach_all_workers(proxy, crowd):
    expected = {f"crowd-{i}" for i in range(12)}
    assert expected <= names(crowd[0].client_list())
    ids = {client.client_id() for client in crowd}
    assert len(ids) == 12
    victim = crowd[5].client_id()
    assert crowd[0].client_kill_filter(_id=victim) == 1
    wait_until(lambda: "crowd-5" not in names(crowd[0].client_list()), 10)
    with pytest.raises(Exception):
        crowd[5].connection.send_command("PING")
        crowd[5].connection.read_response()


def test_client_kill_by_address_old_form(proxy, crowd):
    address = next(one["addr"] for one in crowd[0].client_list() if one["name"] == "crowd-7")
    assert crowd[0].client_kill(address)
    wait_until(lambda: "crowd-7" not in names(crowd[0].client_list()), 10)
    with proxy.wire() as wire:
        assert wire.command("CLIENT", "KILL", "1.2.3.4:5") == "ERR No such client"


def test_pause_of_writes_stops_writes_on_all_workers(proxy, crowd):
    r = proxy.client()
    r.execute_command("CLIENT", "PAUSE", "100000", "WRITE")
    done = []
    threads = [threading.Thread(target=lambda c=c: done.append(c.set("paused", "1"))) for c in crowd]
    for thread in threads:
        thread.start()
    wait_until(lambda: int(proxy.info("clients")["blocked_clients"]) == 12, 10)
    assert r.get("nothing-here") is None and not done
    r.execute_command("CLIENT", "UNPAUSE")
    for thread in threads:
        thread.join(10)
    assert len(done) == 12


def test_pause_ends_by_itself(proxy):
    r = proxy.client()
    r.execute_command("CLIENT", "PAUSE", "300", "ALL")
    assert r.set("after", "pause")


def test_config_set_reaches_workers_and_nodes(proxy, crowd):
    r = crowd[0]
    r.config_set("maxmemory", "123456789")
    assert all(c.config_get("maxmemory") == {"maxmemory": "123456789"} for c in crowd)
    r.config_set("maxmemory", "0")
    r.config_set("slowlog-max-len", "77")
    assert all(c.config_get("slowlog-max-len") == {"slowlog-max-len": "77"} for c in crowd)
    r.config_set("slowlog-max-len", "128")


def test_config_set_is_all_or_nothing(proxy, crowd):
    with proxy.wire() as wire:
        for pairs in (
            ("slowlog-max-len", "5", "maxmemory", "many"),
            ("maxmemory", "1gb", "slowlog-max-len", "many"),
            ("slowlog-max-len", "5", "no-such-directive", "1"),
            ("slowlog-max-len", "5", "shards", "64"),
        ):
            reply = wire.command("CONFIG", "SET", *pairs)
            assert isinstance(reply, Error), pairs
        assert wire.command("CONFIG", "GET", "slowlog-max-len") == [b"slowlog-max-len", b"128"]
        assert wire.command("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"0"]
        # What is fixed may be set to what it is.
        assert wire.command("CONFIG", "SET", "shards", "128") == b"OK"


def test_config_get_shows_each_directive_once(proxy):
    with proxy.wire() as wire:
        found = wire.command("CONFIG", "GET", "*")[::2]
    assert len(found) == len(set(found))
    assert {b"shards", b"maxmemory", b"requirepass"} <= set(found)
    assert b"coordinator" not in found


def test_info_adds_up_workers_and_nodes(proxy, crowd):
    r = crowd[0]
    r.flushall()
    r.config_resetstat()
    for i, client in enumerate(crowd * 10):
        client.set(f"key:{i}", "v")
    info = proxy.info()
    assert info["cmdstat_set"].startswith("calls=120,")
    assert info["db0"].startswith("keys=120,")
    assert info["cluster_enabled"] == "1" and info["loading"] == "0"
    assert info["nodes_answering"] == "3" and info["shards_served"] == "128"
    with pytest.raises(Exception):
        r.execute_command("SET", "x")
    assert proxy.info("errorstats")["errorstat_ERR"] == "count=1"
    r.flushall()


def test_slow_log_is_one_for_all_workers(proxy, crowd):
    r = proxy.client()
    r.config_set("slowlog-log-slower-than", "0")
    r.slowlog_reset()
    for i, client in enumerate(crowd):
        client.set(f"slow-{i}", "v")
    wait_until(lambda: r.slowlog_len() >= 12, 10)
    entries = r.slowlog_get(1000)
    r.config_set("slowlog-log-slower-than", "10000")
    commands = {entry["command"] for entry in entries}
    assert {f"set slow-{i} v".lower() for i in range(12)} <= {
        (one.decode() if isinstance(one, bytes) else one).lower() for one in commands
    }
    ids = [entry["id"] for entry in entries]
    assert ids == sorted(ids, reverse=True)
    r.slowlog_reset()
    assert r.slowlog_len() == 0


def test_secrets_stay_out_of_the_slow_log(proxy):
    with proxy.wire() as wire:
        wire.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
        wire.command("SLOWLOG", "RESET")
        wire.command("CONFIG", "SET", "node-password", "")
        wire.command("AUTH", "default", "hush-hush")
        text = str(wire.command("SLOWLOG", "GET", "100"))
        wire.command("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    assert "hush-hush" not in text and "(redacted)" in text


def test_latency_histogram_counts_what_clients_sent(proxy, crowd):
    crowd[0].config_resetstat()
    for client in crowd:
        client.get("x")
    with proxy.wire() as wire:
        reply = wire.command("LATENCY", "HISTOGRAM", "get")
    assert reply[0] == b"get" and reply[1][:2] == [b"calls", 12]


def test_debug_digest_is_that_of_the_whole(proxy):
    r = proxy.client()
    r.flushall()
    with proxy.wire() as wire:
        empty = wire.command("DEBUG", "DIGEST")
        wire.command("MSET", *[word for i in range(50) for word in (f"k{i}", f"v{i}")])
        full = wire.command("DEBUG", "DIGEST")
        values = wire.command("DEBUG", "DIGEST-VALUE", *[f"k{i}" for i in range(50)], "none")
        assert empty == b"0" * 40 and full != empty
        assert len(set(values)) == 51 and values[-1] == b"0" * 40
        wire.command("FLUSHALL")
        assert wire.command("DEBUG", "DIGEST") == empty


def test_keys_of_a_slot(proxy):
    with proxy.wire() as wire:
        wire.command("MSET", "{user}a", "1", "{user}b", "2")
        slot = wire.command("CLUSTER", "KEYSLOT", "user")
        assert wire.command("CLUSTER", "COUNTKEYSINSLOT", slot) == 2
        assert sorted(wire.command("CLUSTER", "GETKEYSINSLOT", slot, 10)) == [b"{user}a", b"{user}b"]
        assert wire.command("CLUSTER", "COUNTKEYSINSLOT", 16384) == "ERR Invalid slot"
        wire.command("FLUSHALL")


def test_what_is_the_coordinators_work_says_so(proxy):
    with proxy.wire() as wire:
        for words in (("ADDSLOTS", "1"), ("RESET",)):
            assert "DRAIN" in wire.command("CLUSTER", *words)
        assert wire.command("CLUSTER", "SETSLOT", "1", "STABLE") == b"OK"  # as it always is


def test_the_nodes_view_shows_the_nodes(proxy):
    with proxy.wire() as wire:
        assert len({entry[2][2] for entry in wire.command("CLUSTER", "SLOTS")}) == 1
        wire.command("CONFIG", "SET", "cluster-view", "nodes")
        assert len({entry[2][2] for entry in wire.command("CLUSTER", "SLOTS")}) == 3
        lines = wire.command("CLUSTER", "NODES").splitlines()
        assert [b"myself" in line for line in lines].count(True) == 1  # the proxy's own
        assert sum(b" connected" in line and b" master " in line for line in lines) == 3
        wire.command("CONFIG", "SET", "cluster-view", "proxy")


def test_shutdown_stops_proxy_and_nodes():
    server = Proxy(local_nodes=2).ready()
    with server.wire() as wire:
        assert wire.command("SHUTDOWN", "ABORT") == "ERR No shutdown in progress."
        wire.command("SHUTDOWN", "NOSAVE")
    wait_until(lambda: not server.alive(), 10)
    assert server.exit_code == 0


def test_keys_do_not_expire_during_a_pause(proxy):
    """Nobody sees them any more, but the nodes remove them only afterwards, as Redis does."""
    r = proxy.client()
    r.flushall()
    keys = [f"soon-{i}" for i in range(30)]
    for key in keys:
        r.set(key, 1, px=100)
    r.client_pause(60000, all=False)
    try:
        wait_until(lambda: not any(r.mget(keys)), 5, "the keys to be over")
        # The nodes' background work takes turns all the time: several of them pass.
        nodes = [proxy_node.client() for proxy_node in nodes_of(proxy)]
        turns = [turns_of(node) for node in nodes]
        wait_until(lambda: all(turns_of(n) >= t + 5 for n, t in zip(nodes, turns)), 10, "turns of the nodes")
        assert r.dbsize() == 30
    finally:
        r.client_unpause()
    wait_until(lambda: r.dbsize() == 0, 10, "the keys to be removed")


def turns_of(node):
    return int(node.info("clients")["cron_turns"])


def nodes_of(proxy):
    """Clients of a proxy's nodes, to ask them directly."""
    return [redis.Redis(port=port, decode_responses=True, socket_timeout=10) for port in View(proxy).nodes()]


def test_config_set_that_one_node_misses_reaches_it_later():
    proxy = Proxy(local_nodes=2, request_timeout="500ms", heartbeat_interval="60s").ready()
    one, other = nodes_of(proxy)
    pid = int(other.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        assert proxy.client().config_set("hz", 50)
        assert one.config_get("hz") == {"hz": "50"}
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: other.config_get("hz") == {"hz": "50"}, 20, "the node that hung to hear of it")


def test_a_node_passes_on_no_more_than_an_operator_has_to_say(proxy):
    """More would end its connection with the coordinator."""
    with Wire(next(iter(View(proxy).nodes())), limit=30) as wire:
        error = wire.command("CLUSTER", "FORGET", "x" * (1 << 20))
        assert isinstance(error, Error) and error == "ERR cluster|forget: its arguments are too long"
        assert not isinstance(wire.command("PROXY", "NODES"), Error)
