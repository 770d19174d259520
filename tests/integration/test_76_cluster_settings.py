"""CONFIG SET through the proxy holds for the whole cluster: for nodes that are away just now, that start again, that join later."""
from support.cluster import Cluster
from support.process import free_port
from support.wait import wait_until
from support.wire import Error, Wire


def setting(node, name):
    with node.wire(limit=5) as wire:
        return wire.command("CONFIG", "GET", name)[1].decode()


def through(cluster, *command):
    with cluster.proxy.wire(limit=30) as wire:
        return wire.command(*command)


def wait_setting(node, name, value):
    wait_until(lambda: setting(node, name) == value, 20, f"{name} to be {value}")


def test_what_is_set_holds_for_nodes_that_start_again_or_join_later():
    cluster = Cluster(min_nodes=2, shards=4, lease="1s")
    for name in "AB":
        cluster.start_node(name)
    cluster.wait_even()
    assert through(cluster, "CONFIG", "SET", "hash-max-listpack-entries", "7", "maxmemory", "500mb") == b"OK"
    assert through(cluster, "CONFIG", "SET", "hash-max-ziplist-entries", "8") == b"OK"  # an older name of it
    assert through(cluster, "CONFIG", "SET", "Hash-Max-Listpack-Entries", "9") == b"OK"
    for name in "AB":
        assert setting(cluster.nodes[name], "hash-max-listpack-entries") == "9"

    cluster.nodes["A"].kill()
    wait_until(lambda: cluster.state("A") == "dead", 20)
    assert through(cluster, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == b"OK"
    cluster.start_node("A")
    wait_setting(cluster.nodes["A"], "maxmemory-policy", "allkeys-lru")
    assert setting(cluster.nodes["A"], "hash-max-listpack-entries") == "9"
    assert setting(cluster.nodes["A"], "maxmemory") == str(500 << 20)

    cluster.start_node("C", hash_max_listpack_entries="11")  # the cluster's word counts
    wait_setting(cluster.nodes["C"], "hash-max-listpack-entries", "9")

    # The record outlives the proxy.
    cluster.proxy.kill()
    cluster.proxy.start()
    cluster.proxy.ready()
    cluster.nodes["B"].kill()
    cluster.start_node("B")
    wait_setting(cluster.nodes["B"], "maxmemory-policy", "allkeys-lru")
    for node in cluster.nodes.values():
        assert setting(node, "maxmemory") == str(500 << 20)


def users(server):
    with server.wire(limit=5) as wire:
        return {line.split()[1]: line for line in map(bytes.decode, wire.command("ACL", "LIST"))}


def wait_users(server, expected):
    """But for the default user, who is each server's own."""
    def theirs():
        found = users(server)
        del found["default"]
        return found

    wait_until(lambda: theirs() == expected, 20, "the cluster's users")


def test_users_belong_to_the_cluster_and_outlive_its_processes():
    cluster = Cluster(min_nodes=2, shards=4, lease="1s", workers=2)
    cluster.start_node("A", user="own on nopass +@all")
    cluster.start_node("B")
    cluster.wait_even()
    assert through(cluster, "ACL", "SETUSER", "al", "on", ">secret", "~a*", "+get") == b"OK"
    assert through(cluster, "ACL", "SETUSER", "bo", "on", ">secret", "~b*", "+@all") == b"OK"
    assert through(cluster, "ACL", "SETUSER", "default", "-debug") == b"OK"
    told = users(cluster.proxy)
    closed = told.pop("default")
    assert set(told) == {"al", "bo"} and "-debug" in closed
    own = users(cluster.nodes["A"])["own"]
    wait_users(cluster.nodes["A"], dict(told, own=own))
    wait_users(cluster.nodes["B"], told)
    with cluster.nodes["B"].wire(limit=5) as wire:
        assert wire.command("AUTH", "al", "secret") == b"OK"
        assert wire.command("SET", "a", "1").startswith("NOPERM")

    # The proxy starts again, and so does a node that missed a change.
    cluster.nodes["B"].kill()
    assert through(cluster, "ACL", "DELUSER", "bo") == 1
    assert through(cluster, "ACL", "SETUSER", "al", "+set") == b"OK"
    told = {"al": users(cluster.proxy)["al"]}
    wait_users(cluster.nodes["A"], dict(told, own=own))
    cluster.proxy.kill()
    cluster.proxy.start()
    cluster.proxy.ready()
    assert users(cluster.proxy) == dict(told, default=closed)
    cluster.start_node("B")
    cluster.start_node("C")
    for name in "BC":
        wait_users(cluster.nodes[name], told)
    with cluster.proxy.wire(limit=30) as wire:
        assert wire.command("AUTH", "al", "secret") == b"OK"
        assert wire.command("SET", "a", "1") == b"OK"
        assert wire.command("GET", "b").startswith("NOPERM")


def test_a_file_of_users_that_has_changed_counts(tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("user al on >secret ~a* +get\nuser bo on >secret ~b* +get\n", encoding="utf-8")
    cluster = Cluster(min_nodes=1, replication_factor=1, shards=4, aclfile=str(path))
    cluster.start_node("A")
    cluster.wait_even()

    def again():
        assert cluster.proxy.stop() == 0
        cluster.proxy.start()
        cluster.proxy.ready()
        return {name: line.split(" ", 2)[2] for name, line in users(cluster.proxy).items()}

    wait_until(lambda: "bo" in users(cluster.nodes["A"]), 20)
    through(cluster, "ACL", "SETUSER", "al", "+set")
    through(cluster, "ACL", "SETUSER", "cy", "on", "nopass", "+ping")
    through(cluster, "ACL", "DELUSER", "bo")
    found = again()
    assert set(found) == {"al", "cy", "default"} and "+set" in found["al"]
    path.write_text("user al on >secret ~a* +mget\nuser bo on >secret ~b* +get\n", encoding="utf-8")
    found = again()
    assert set(found) == {"al", "cy", "default"} and "+mget" in found["al"] and "+set" not in found["al"]
    assert through(cluster, "ACL", "SAVE") == b"OK"  # from now on the file says all of it
    through(cluster, "ACL", "SETUSER", "cy", "+echo")
    found = again()
    assert "+echo" in found["cy"]
    assert through(cluster, "ACL", "LOAD") == b"OK"
    assert "+echo" not in again()["cy"]
    wait_until(lambda: "+echo" not in users(cluster.nodes["A"])["cy"], 20)


def test_what_one_node_refuses_none_has():
    cluster = Cluster(min_nodes=2, shards=4, lease="1s")
    cluster.start_node("A")
    cluster.start_node("B")
    cluster.wait_even()
    refused = through(cluster, "CONFIG", "SET", "maxmemory", "1gb", "databases", "4")
    assert isinstance(refused, Error)
    wrong = through(cluster, "CONFIG", "SET", "maxmemory", "1gb", "weight", "3")
    assert isinstance(wrong, Error) and "weight" in wrong
    assert {setting(node, "maxmemory") for node in cluster.nodes.values()} == {"0"}
    cluster.start_node("C")
    cluster.wait_even()
    assert setting(cluster.nodes["C"], "maxmemory") == "0"


def test_a_worker_that_lags_behind_the_record_sets_passwords_all_the_same():
    """What else it sets comes with the record; a password is needed at once."""
    cluster = Cluster(min_nodes=1, shards=4, lease="1s")
    node = cluster.start_node("A")
    cluster.wait_even()
    assert through(cluster, "CONFIG", "SET", "maxmemory", "1gb") == b"OK"
    wait_setting(node, "maxmemory", str(1 << 30))
    with node.wire(limit=5) as wire:
        assert wire.command("SHOAL", "SETTINGS", "0", "maxmemory", "2gb") == b"OK"
        assert wire.command("CONFIG", "GET", "maxmemory")[1] == str(1 << 30).encode()
        assert wire.command("SHOAL", "SETTINGS", "0", "maxmemory", "2gb", "requirepass", "new") == b"OK"
        assert wire.command("CONFIG", "GET", "maxmemory")[1] == str(1 << 30).encode()
        assert wire.command("CONFIG", "GET", "requirepass")[1] == b"new"


def test_a_new_password_is_for_connections_to_come():
    """Of nodes to the coordinator and to each other, and of the proxy to nodes: each breaks here, and is made anew."""
    cluster = Cluster(min_nodes=2, shards=4, lease="1s")
    for name in "AB":
        cluster.start_node(name)
    cluster.wait_even()
    assert through(cluster, "CONFIG", "SET", "requirepass", "of now") == b"OK"
    cluster.proxy.kill()
    cluster.proxy.argv += ["--requirepass", "of now"]
    cluster.proxy.start()

    def told(*command):
        with cluster.proxy.wire(limit=30) as wire:
            assert wire.command("AUTH", "of now") == b"OK"
            return wire.command(*command)

    wait_until(lambda: all(b"in-sync=2" in line for line in told("PROXY", "SHARDS")), 30, "two copies")
    wait_until(lambda: told("SET", "a", "1") == b"OK", 30, "the cluster to take writes")
    before = cluster.nodes["B"].output().count("agent registered")
    cluster.nodes["B"].kill()
    cluster.nodes["B"].argv += ["--requirepass", "of now"]
    cluster.start_node("B")
    wait_until(lambda: cluster.nodes["B"].output().count("agent registered") > before, 30, "B to be there again")
    wait_until(lambda: all(b"in-sync=2" in line for line in told("PROXY", "SHARDS")), 30, "two copies")
    assert told("GET", "a") == b"1"


def test_a_transaction_is_refused_where_its_node_is_out_of_memory():
    cluster = Cluster(min_nodes=2, shards=4, lease="1s", workers=2)
    for name in "AB":
        cluster.start_node(name)
    cluster.wait_even()
    with cluster.proxy.wire(limit=30) as wire, cluster.proxy.wire(limit=30) as other:
        assert wire.command("SET", "k", "v") == b"OK"
        assert wire.command("MULTI") == b"OK"
        assert wire.command("GET", "k") == b"QUEUED"
        assert other.command("CONFIG", "SET", "maxmemory", "1") == b"OK"
        assert wire.command("EXEC") == [b"v"]  # what only reads needs none
        assert wire.command("MULTI") == b"OK"
        refused = wire.command("SET", "k", "w")
        assert isinstance(refused, Error) and refused.startswith("OOM")
        assert wire.command("DISCARD") == b"OK"
        assert wire.command("MULTI") == b"OK"
        wire.command("SET", "k", "w")
        assert other.command("CONFIG", "SET", "maxmemory", "0") == b"OK"
        refused = wire.command("EXEC")
        assert isinstance(refused, Error) and refused.startswith("EXECABORT")
        assert wire.command("MULTI") == b"OK"
        assert wire.command("SET", "k", "w") == b"QUEUED"
        assert other.command("CONFIG", "SET", "maxmemory", "1") == b"OK"
        refused = wire.command("EXEC")
        assert isinstance(refused, Error) and refused.startswith("EXECABORT") and "OOM" in refused
        assert other.command("CONFIG", "SET", "maxmemory", "0") == b"OK"
        assert wire.command("GET", "k") == b"v"


def test_the_proxy_moves_to_another_port():
    cluster = Cluster(min_nodes=1, replication_factor=1, shards=4, workers=2)
    cluster.start_node("A")
    cluster.wait_even()
    port = free_port()
    with cluster.proxy.wire(limit=30) as wire:
        refused = wire.command("CONFIG", "SET", "maxmemory", "1gb", "port", str(cluster.nodes["A"].port))
        assert isinstance(refused, Error) and "Unable to listen on this port" in refused
        assert setting(cluster.nodes["A"], "maxmemory") == "0"
        assert wire.command("CONFIG", "SET", "port", str(port)) == b"OK"
        assert wire.command("SET", "k", "v") == b"OK"  # who is there stays
        with Wire(port, limit=30) as moved:
            assert moved.command("GET", "k") == b"v"
            assert moved.command("CONFIG", "GET", "port") == [b"port", str(port).encode()]
            assert moved.command("CONFIG", "SET", "port", str(cluster.proxy.port)) == b"OK"
    wait_until(cluster.proxy.answers, 20)
