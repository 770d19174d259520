"""CONFIG GET, SET and REWRITE, on a running node and a running proxy."""
import os
import re
import socket
import subprocess

import pytest
from support.process import free_port, temp_dir
from support.programs import ROOT, Node, Proxy, Server, bin_path
from support.wire import Error


def test_get_by_pattern(server):
    r = server.r
    assert r.config_get("port") == {"port": str(server.port)}
    assert {"port", "maxclients", "timeout"} <= set(r.config_get("*"))
    assert "maxclients" in r.config_get("MAX*")
    assert r.config_get("nothing-like-it") == {}
    with server.wire() as wire:
        both = wire.command("CONFIG", "GET", "port", "timeout", "time*")
        assert sorted(both[::2]) == [b"port", b"timeout"]


def test_set_one_and_several(server):
    r = server.r
    before = r.config_get("timeout")["timeout"]
    with server.wire() as wire:
        assert wire.command("CONFIG", "SET", "timeout", "7") == b"OK"
        assert r.config_get("timeout") == {"timeout": "7"}
        assert wire.command("CONFIG", "SET", "timeout", "8", "tcp-keepalive", "99") == b"OK"
        assert r.config_get("tcp-keepalive") == {"tcp-keepalive": "99"}
        # One wrong value: none of them is set.
        error = wire.command("CONFIG", "SET", "timeout", "9", "tcp-keepalive", "soon")
        assert error.startswith("ERR CONFIG SET failed (possibly related to argument 'tcp-keepalive')")
        assert r.config_get("timeout") == {"timeout": "8"}
        error = wire.command("CONFIG", "SET", "no-such", "1")
        assert error == "ERR Unknown option or number of arguments for CONFIG SET - 'no-such'"
        error = wire.command("CONFIG", "SET", "timeout")
        assert error == "ERR wrong number of arguments for 'config|set' command"
    r.config_set("timeout", before)


def test_no_more_clients_than_the_system_has_files_for(server):
    before = server.r.config_get("maxclients")
    with server.wire() as wire:
        error = wire.command("CONFIG", "SET", "maxclients", "4000000")
    assert "not able to handle the specified number of clients, try with" in error
    assert server.r.config_get("maxclients") == before


def test_directives_that_do_not_go_together_are_refused(proxy):
    with proxy.wire() as wire:
        for words in (("dead-missed", "2"), ("unhealthy-missed", "7")):
            error = wire.command("CONFIG", "SET", *words)
            assert "dead-missed must not be less than unhealthy-missed" in error
        assert wire.command("CONFIG", "SET", "dead-missed", "20", "unhealthy-missed", "10") == b"OK"
        assert wire.command("CONFIG", "SET", "unhealthy-missed", "3", "dead-missed", "6") == b"OK"
    done = subprocess.run(
        [bin_path("shoal-proxy"), "--check-conf", "--dead-missed", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 1 and b"dead-missed must not be less" in done.stdout


def test_without_tracking_no_latencies_are_told(server):
    server.r.get("some-key")
    assert "latency_percentiles_usec_get" in server.info("latencystats")
    server.r.config_set("latency-tracking", "no")
    assert server.info("latencystats") == {}
    server.r.config_set("latency-tracking", "yes")


def test_what_is_fixed_at_start_cannot_be_set(server):
    with server.wire() as wire:
        directory = "databases"
        error = wire.command("CONFIG", "SET", directory, "3")
        assert error.startswith("ERR CONFIG SET failed")
        assert "can't set immutable config" in error


def test_rewrite_without_a_file(server):
    with server.wire() as wire:
        error = wire.command("CONFIG", "REWRITE")
        assert error == "ERR The server is running without a config file"


@pytest.mark.parametrize("program", ["shoal-node", "shoal-proxy"])
def test_rewrite_keeps_comments_and_order(program):
    directory, port = temp_dir(), free_port()
    conf = os.path.join(directory, "mine.conf")
    more = "stand-alone yes" if program == "shoal-node" else "local-nodes 1"
    text = f"# my comment\nport {port}\ntimeout 5\n\n# another\nmaxclients 500\n{more}\n"
    with open(conf, "w", encoding="utf-8") as file:
        file.write(text)
    argv = [bin_path(program), conf, "--dir", directory]
    server = Server(argv, port, name=program, directory=directory).ready()
    server.r.config_set("timeout", 6)
    server.r.config_set("tcp-keepalive", 123)
    server.r.config_rewrite()
    with open(conf, encoding="utf-8") as file:
        now = file.read()
    assert now.startswith(f"# my comment\nport {port}\ntimeout 6\n\n# another\nmaxclients 500\n{more}\n")
    assert "\ntcp-keepalive 123\n" in now
    assert server.stop() == 0
    again = Server(argv, port, name=program + "-again", directory=directory).ready()
    assert again.r.config_get("timeout") == {"timeout": "6"}
    assert again.r.config_get("tcp-keepalive") == {"tcp-keepalive": "123"}


def test_redis_directives_that_are_none_here_tell_what_is_done_anyway(server):
    with server.wire() as wire:
        found = [word.decode() for word in wire.command("CONFIG", "GET", "*of", "tls-port")]
        assert dict(zip(found[::2], found[1::2])) == {"replicaof": "", "slaveof": "", "tls-port": "0"}
        assert wire.command("CONFIG", "SET", "masterauth", "", "tls-port", "0") == b"OK"
        for name, value in (("tls-port", "6380"), ("replicaof", "127.0.0.1 1")):
            refused = wire.command("CONFIG", "SET", name, value)
            assert isinstance(refused, Error) and f"argument '{name}'" in refused, (name, refused)


def test_resetstat(server):
    server.r.ping()
    assert int(server.info()["total_commands_processed"]) > 0
    assert server.r.config_resetstat()
    assert int(server.info()["total_commands_processed"]) < 20


@pytest.mark.parametrize("which", ["node", "proxy"])
def test_conf_file_shows_each_directive_and_its_default(which, request):
    """conf/shoal-*.conf says of each directive what CONFIG GET says of a fresh server. A proxy shows
    its nodes' directives too."""
    server = request.getfixturevalue(which)
    text = ""
    for program in ["node"] if which == "node" else ["proxy", "node"]:
        with open(f"{ROOT}/conf/shoal-{program}.conf", encoding="utf-8") as file:
            text += file.read()
    with server.wire() as wire:
        reply = [word.decode() for word in wire.command("CONFIG", "GET", "*")]
    # Redis's older names of some are shown too; the file has the present ones. So are directives of Redis that have
    # one value only.
    with open(f"{ROOT}/common/app/redis_directives.def", encoding="utf-8") as file:
        theirs = set(re.findall(r'^DIRECTIVE\("([^"]+)"', file.read(), re.M))
    names = {name.replace("-ziplist-", "-listpack-").replace("-slave", "-replica") for name in reply[::2]}
    names = {name for name in names if f"\n#{name} " in text or name not in theirs}
    names = {"busy-reply-threshold" if name == "lua-time-limit" else name for name in names}
    # Those of Redis that are none here are told with what is done anyway.
    with open(f"{ROOT}/common/app/redis_directives.def", encoding="utf-8") as file:
        names -= set(re.findall(r'^DIRECTIVE\("([^"]*)"', file.read(), re.M))
    assert not [name for name in names if f"\n#{name} " not in text and f"\n{name} " not in text]

STOCK = "/etc/redis/redis.conf"
QUIET = ["--daemonize", "no", "--pidfile", "", "--logfile", ""]


@pytest.mark.skipif(not os.access(STOCK, os.R_OK), reason="Debian's redis.conf is not here")
@pytest.mark.parametrize("program", ["shoal-node", "shoal-proxy"])
def test_starts_from_a_stock_redis_conf(program):
    directory, port = temp_dir(), free_port()
    argv = [bin_path(program), STOCK, *QUIET, "--port", port, "--dir", directory]
    argv += ["--stand-alone", "yes"] if program == "shoal-node" else ["--control-port", "0"]
    server = Server(argv, port, name=program, directory=directory).ready()
    # What the file sets and we have is used; what has no effect is told.
    assert server.r.config_get("tcp-keepalive") == {"tcp-keepalive": "300"}
    assert "directives without effect here:" in server.output()
    assert " activerehashing" in server.output()


@pytest.mark.parametrize("program", ["shoal-node", "shoal-proxy"])
def test_a_directive_of_redis_that_we_cannot_follow_stops_the_start(program):
    directory = temp_dir()
    conf = os.path.join(directory, "mine.conf")
    with open(conf, "w", encoding="utf-8") as file:
        file.write("# one\ntls-port 0\ncluster-node-timeout 5000\n")
    done = subprocess.run([bin_path(program), conf], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert f"{conf}:3: directive 'cluster-node-timeout': only 15000 is possible: " in done.stderr
    assert "heartbeat-interval" in done.stderr


def own_address():
    """An address of this machine that is not loopback; None without one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


def greeting(port, word=b""):
    """What a server says to one who comes from another machine, as it looks to it."""
    with socket.create_connection((own_address(), port), timeout=10) as sock:
        if word:
            sock.sendall(word)
        return sock.recv(1024)


@pytest.mark.skipif(own_address() is None, reason="this machine has loopback addresses only")
@pytest.mark.parametrize("make", [lambda **o: Node(**o), lambda **o: Proxy(local_nodes=1, **o)], ids=["node", "proxy"])
def test_without_a_password_others_are_refused_unless_told_not_to(make):
    server = make(bind=f"127.0.0.1 {own_address()}").ready()
    assert greeting(server.port).startswith(b"-DENIED this server is in protected mode")
    assert server.r.ping()
    server.r.config_set("protected-mode", "no")
    assert greeting(server.port, b"PING\r\n") == b"+PONG\r\n"
    server.r.config_set("protected-mode", "yes")
    server.r.config_set("requirepass", "secret")
    assert greeting(server.port, b"PING\r\n").startswith(b"-NOAUTH")
