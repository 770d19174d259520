"""What only a node shows: its connections, limits and statistics, and what it is without a cluster."""
import os
import re

import pytest
from support.process import temp_dir
from support.programs import Node, Proxy
from support.wait import wait_until
from support.wire import Closed, Error, Wire, encode


def field(server, name):
    return int(server.r.info("everything")[name])


def connected(wire):
    return int(re.search(rb"connected_clients:(\d+)", wire.command("INFO", "clients")).group(1))


@pytest.fixture
def fresh():
    """A node of the test's own."""

    def start(**options):
        return Node(**options).ready()

    return start


# --- connections ---


def test_kill_by_every_filter(node):
    with node.wire() as one, node.wire() as two, node.wire() as other:
        number = one.command("CLIENT", "ID")
        address = re.search(rb" laddr=(\S+)", two.command("CLIENT", "INFO")).group(1)
        peer = re.search(rb" addr=(\S+)", two.command("CLIENT", "INFO")).group(1)
        assert other.command("CLIENT", "KILL", "ID", number, "TYPE", "pubsub") == 0
        assert other.command("CLIENT", "KILL", "ID", number, "USER", "default", "TYPE", "normal") == 1
        assert one.is_closed()
        assert other.command("CLIENT", "KILL", "LADDR", address, "ADDR", peer) == 1
        assert two.is_closed()
        me = other.command("CLIENT", "ID")
        assert other.command("CLIENT", "KILL", "ID", me, "SKIPME", "yes") == 0
        assert other.command("CLIENT", "KILL", "ID", me, "SKIPME", "no") == 1
        assert other.is_closed()


def test_a_killed_client_runs_nothing_more(node):
    node.r.delete("after")
    with node.wire() as victim, node.wire() as killer:
        number = victim.command("CLIENT", "ID")
        victim.send(encode("PING"))
        assert victim.reply() == b"PONG"
        # One batch: its own death and what it wanted to do afterwards.
        victim.send(encode("CLIENT", "KILL", "ID", number, "SKIPME", "no") + encode("SET", "after", "x"))
        assert victim.reply() == 1
        assert victim.is_closed()
        assert killer.command("EXISTS", "after") == 0


def test_client_list_by_id_and_type(node):
    with node.wire() as one, node.wire() as two:
        ids = [one.command("CLIENT", "ID"), two.command("CLIENT", "ID")]
        listed = one.command("CLIENT", "LIST", "ID", *ids).decode().splitlines()
        assert [int(re.match(r"id=(\d+)", line).group(1)) for line in listed] == ids
        assert one.command("CLIENT", "LIST", "TYPE", "replica") == b""
        two.command("CLIENT", "SETNAME", "second")
        assert b"name=second" in one.command("CLIENT", "LIST", "TYPE", "normal")


def test_client_list_keeps_the_order_of_coming(node):
    with node.wire() as one, node.wire() as two, node.wire() as three:
        for wire in (one, two, three):
            wire.command("PING")
        turns = int(node.r.info("everything")["cron_turns"])
        wait_until(lambda: int(node.r.info("everything")["cron_turns"]) > turns, 5, "clients to be checked")
        ids = [int(number) for number in re.findall(rb"(?m)^id=(\d+)", three.command("CLIENT", "LIST"))]
        assert len(ids) >= 3 and ids == sorted(ids)


def test_monitor_shows_commands_and_no_secrets(node):
    with node.wire() as watcher, node.wire() as busy:
        assert watcher.command("MONITOR") == b"OK"
        busy.command("SET", "seen", "a b\n")
        busy.command("AUTH", "default", "secret word")
        busy.command("HELLO", "2", "AUTH", "default", "secret word")
        busy.command("MULTI")
        busy.command("GET", "seen")
        busy.command("EXEC")
        busy.command("ECHO", "end")
        lines = []
        while not lines or '"ECHO"' not in lines[-1]:
            lines.append(watcher.reply().decode())
        text = "\n".join(lines)
        assert re.match(r"\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] ", lines[0])
        assert '"SET" "seen" "a b\\n"' in text
        assert "secret" not in text and "(redacted)" in text
        assert text.index('"MULTI"') < text.index('"GET"') < text.index('"EXEC"')


def test_pause_holds_writes_and_only_them(node):
    node.r.set("held", "before")
    with node.wire() as writer, node.wire() as other:
        assert other.command("CLIENT", "PAUSE", "60000", "WRITE") == b"OK"
        # One pipeline: the read in front is answered, everything behind the write waits with it.
        writer.send(encode("GET", "held") + encode("SET", "held", "after") + encode("GET", "held"))
        assert writer.reply() == b"before"
        wait_until(lambda: field(node, "blocked_clients") == 1, 5, "the writer to be paused")
        assert other.command("GET", "held") == b"before"
        assert b"flags=b" in other.command("CLIENT", "LIST")
        assert other.command("CLIENT", "UNPAUSE") == b"OK"
        assert writer.reply() == b"OK"
        assert writer.reply() == b"after"
        assert field(node, "blocked_clients") == 0


def test_pause_ends_by_itself(node):
    with node.wire() as writer:
        assert writer.command("CLIENT", "PAUSE", "50", "ALL") == b"OK"
        assert writer.command("SET", "held", "x") == b"OK"


def test_keys_do_not_expire_during_a_pause(node):
    with node.wire() as one:
        one.command("SET", "mortal", "x", "PX", "20")
        before = field(node, "expired_keys")
        one.command("CLIENT", "PAUSE", "300", "WRITE")
        wait_until(lambda: one.command("GET", "mortal") is None, 5, "the key to be hidden")
        assert field(node, "expired_keys") == before
        one.command("CLIENT", "UNPAUSE")
        wait_until(lambda: field(node, "expired_keys") == before + 1, 5, "the key to expire")


def test_replies_before_a_protocol_error_arrive(node):
    with node.wire() as one:
        one.send(encode("PING") + encode("ECHO", "x") + b"*1\r\n:3\r\n")
        assert one.reply() == b"PONG"
        assert one.reply() == b"x"
        assert one.reply() == Error("ERR Protocol error: expected '$', got ':'")
        assert one.is_closed()


# --- passwords and protection ---


def test_a_password_is_asked_for(fresh):
    node = fresh()
    node.r.config_set("requirepass", "sesame")
    with node.wire() as one:
        assert one.command("GET", "x").startswith("NOAUTH ")
        assert one.command("AUTH", "wrong").startswith("WRONGPASS ")
        assert one.command("HELLO", "3").startswith("NOAUTH ")
        assert one.command("HELLO", "3", "AUTH", "default", "sesame")[b"proto"] == 3
        assert one.command("GET", "x") is None
        assert one.command("RESET") == b"RESET"
        assert one.command("GET", "x").startswith("NOAUTH ")
        assert one.command("AUTH", "sesame") == b"OK"
        assert one.command("CONFIG", "SET", "requirepass", "") == b"OK"
    with node.wire() as two:
        assert two.command("GET", "x") is None


def test_who_is_not_known_may_not_send_much(fresh):
    node = fresh()
    node.r.config_set("requirepass", "sesame")
    with node.wire() as one:
        one.send(b"*11\r\n")
        assert one.reply() == Error("ERR Protocol error: unauthenticated multibulk length")
        assert one.is_closed()
    with node.wire() as one:
        one.send(b"*2\r\n$4\r\nAUTH\r\n$20000\r\n")
        assert one.reply() == Error("ERR Protocol error: unauthenticated bulk length")


def test_debug_is_off_unless_allowed(fresh):
    node = fresh()
    with node.wire() as one:
        assert one.command("DEBUG", "SLEEP", "0").startswith("ERR DEBUG command not allowed.")


# --- limits ---


def test_lanes_come_in_when_the_node_is_full(fresh):
    node = fresh()
    with node.wire() as one, node.wire() as two:
        assert one.command("PING") == two.command("PING") == b"PONG"
        wait_until(lambda: connected(one) == 2, 5, "others to be gone")
        one.command("CONFIG", "SET", "maxclients", "2")
        with node.wire() as third:
            assert third.command("PING") == Error("ERR max number of clients reached")
            assert third.is_closed()
        with node.wire() as lane:
            assert lane.command("SHOAL", "LANE", "7") == 16
            assert lane.command("SET", "x", "1") == b"OK"
            assert b"flags=L" in one.command("CLIENT", "LIST")
            info = one.command("INFO", "clients").decode()
            assert "connected_clients:2\r" in info and "proxy_lanes:1\r" in info


def test_who_comes_too_late_and_says_nothing_is_told(fresh):
    node = fresh()
    with node.wire() as one:
        wait_until(lambda: connected(one) == 1, 5, "others to be gone")
        one.command("CONFIG", "SET", "maxclients", "1")
        with node.wire() as second:
            assert second.reply() == Error("ERR max number of clients reached")


def test_a_hard_output_limit_ends_a_slow_reader(fresh):
    node = fresh(client_output_buffer_limit="normal 1mb 0 0")
    node.r.set("big", b"x" * 500_000)
    with node.wire() as greedy:
        greedy.send(encode("GET", "big") * 200)
        wait_until(
            lambda: field(node, "client_output_buffer_limit_disconnections") == 1, 10, "it to be closed"
        )
    assert node.r.ping()


def test_a_soft_output_limit_gives_time(fresh):
    node = fresh(client_output_buffer_limit="normal 0 1mb 1")
    node.r.set("big", b"x" * 500_000)
    with node.wire() as greedy:
        greedy.send(encode("GET", "big") * 100)
        wait_until(lambda: field(node, "client_recent_max_output_buffer") > 1 << 20, 10, "replies to pile up")
        wait_until(
            lambda: field(node, "client_output_buffer_limit_disconnections") == 1, 20, "it to be closed"
        )


def test_a_command_that_never_ends_is_cut_off(fresh):
    node = fresh(client_query_buffer_limit="2mb")
    with node.wire() as one:
        one.send(b"*2\r\n$3\r\nGET\r\n$100000000\r\n")
        with pytest.raises((Closed, ConnectionError)):
            while True:
                one.send(b"x" * 100_000)
    assert field(node, "client_query_buffer_limit_disconnections") == 1


def test_the_largest_client_goes_when_clients_take_too_much(fresh):
    node = fresh(maxmemory_clients="4mb")
    node.r.set("big", b"x" * 500_000)
    with node.wire() as small, node.wire() as large, node.wire() as safe:
        safe.command("CLIENT", "NO-EVICT", "on")
        small.command("PING")
        large.send(encode("GET", "big") * 400)
        wait_until(lambda: field(node, "evicted_clients") == 1, 10, "the large one to be closed")
        assert small.command("PING") == b"PONG"
        assert safe.command("PING") == b"PONG"


def test_writes_are_refused_at_maxmemory(fresh):
    node = fresh()
    with node.wire() as one:
        one.command("SET", "x", "1")
        assert one.command("CONFIG", "SET", "maxmemory", "1") == b"OK"
        assert one.command("SET", "y", "1").startswith("OOM ")
        assert one.command("GET", "x") == b"1"
        assert one.command("DEL", "x") == 1
        assert one.command("CONFIG", "SET", "maxmemory-policy", "nonsense").startswith("ERR ")
        assert one.command("CONFIG", "SET", "maxmemory", "0") == b"OK"
        assert one.command("SET", "y", "1") == b"OK"


# --- what it saw of itself ---


def test_statistics_of_commands_and_errors(fresh):
    node = fresh()
    with node.wire() as one:
        one.command("CONFIG", "RESETSTAT")
        one.command("SET", "s", "x")
        one.command("INCR", "s")
        one.command("GET")
        one.command("NOSUCH")
        one.command("MULTI")
        one.command("GET", "s")
        one.command("EXEC")
        stats = one.command("INFO", "commandstats", "errorstats", "latencystats").decode()
        assert re.search(r"cmdstat_set:calls=1,usec=\d+,usec_per_call=[\d.]+,rejected_calls=0,failed_calls=0", stats)
        assert re.search(r"cmdstat_incr:calls=1,.*failed_calls=1", stats)
        assert re.search(r"cmdstat_get:calls=1,.*rejected_calls=1,failed_calls=0", stats)
        assert "cmdstat_exec:calls=1," in stats
        assert "errorstat_ERR:count=3\r" in stats
        assert "latency_percentiles_usec_set:p50=" in stats


def test_a_slow_command_is_remembered_and_a_quick_one_is_not(fresh):
    node = fresh(enable_debug_command="yes", latency_monitor_threshold="50")
    with node.wire() as one:
        one.command("CLIENT", "SETNAME", "sleeper")
        one.command("CONFIG", "SET", "slowlog-log-slower-than", "60000")
        # In one batch, so that a time measured too coarsely would blame the neighbours.
        one.send(encode("PING") + encode("DEBUG", "SLEEP", "0.1") + encode("PING"))
        assert [one.reply() for _ in range(3)] == [b"PONG", b"OK", b"PONG"]
        log = one.command("SLOWLOG", "GET", "10")
        assert [entry[3] for entry in log] == [[b"DEBUG", b"SLEEP", b"0.1"]]
        assert log[0][2] >= 100_000 and log[0][5] == b"sleeper"
        assert one.command("LATENCY", "LATEST")[0][0] == b"command"


# --- alone, without a cluster ---


def test_a_node_without_a_cluster_serves_no_key(fresh):
    node = fresh(stand_alone="no")
    with node.wire() as one:
        assert one.command("PING") == b"PONG"
        assert one.command("SET", "x", "1").startswith("CLUSTERDOWN ")
        assert one.command("MULTI") == b"OK"
        assert one.command("GET", "x").startswith("CLUSTERDOWN ")
        assert one.command("EXEC").startswith("EXECABORT ")
        assert one.command("DBSIZE") == 0
        assert b"cluster_state:fail" in one.command("CLUSTER", "INFO")
        assert one.command("CLUSTER", "KEYSLOT", "foo") == 12182
        assert len(one.command("CLUSTER", "MYID")) == 40


def test_a_node_keeps_its_identity(fresh):
    home = temp_dir()
    ids = []
    for _ in range(2):
        node = fresh(stand_alone="no", directory=home)
        ids.append(node.r.execute_command("CLUSTER", "MYID"))
        assert node.stop() == 0
    assert ids[0] == ids[1]
    with open(os.path.join(home, "shoal-node.id"), encoding="utf-8") as file:
        assert file.read().endswith("incarnation 2\n")


def test_keys_of_other_nodes_are_moved_and_never_kept():
    proxy = Proxy(local_nodes=2).ready()
    ports = [int(row[2][1]) for row in proxy.r.execute_command("CLUSTER", "SLOTS")] or []
    assert ports == [proxy.port]  # the proxy looks like one node; the nodes say what is real
    log = proxy.output(1000)
    nodes = [int(port) for port in re.findall(r"node started index=\d+ pid=\d+ port=(\d+)", log)]
    owners = {}
    for port in nodes:
        with Wire(port) as one:
            for i in range(50):
                key = f"k{i}"
                answer = one.command("SET", key, port)
                if isinstance(answer, Error):
                    slot, address = re.fullmatch(r"MOVED (\d+) (\S+)", answer).groups()
                    assert int(slot) == one.command("CLUSTER", "KEYSLOT", key)
                    assert int(address.rsplit(":", 1)[1]) in nodes and address != f"127.0.0.1:{port}"
                else:
                    assert key not in owners
                    owners[key] = port
            assert one.command("DBSIZE") == sum(1 for owner in owners.values() if owner == port)
    assert len(owners) == 50
