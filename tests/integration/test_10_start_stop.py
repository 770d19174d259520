"""Starting and stopping: options, wrong options, signals, ports in use."""
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from support.process import free_port, temp_dir
from support.programs import ROOT, Node, Proxy, bin_path
from support.wait import PATIENCE, wait_until
from support.wire import encode

PROGRAMS = ["shoal-node", "shoal-proxy"]


def run(program, *arguments, limit=10):
    """Runs to its end: (exit code, output)."""
    done = subprocess.run(
        [bin_path(program), *[str(argument) for argument in arguments]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=temp_dir(),
        text=True,
        timeout=limit * PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout


def start(program, **options):
    return Node(**options) if program == "shoal-node" else Proxy(local_nodes=2, **options)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_names_every_directive_of_the_conf_file(program):
    code, text = run(program, "--help")
    assert code == 0
    with open(f"{ROOT}/conf/{program}.conf", encoding="utf-8") as conf:
        names = {
            line.lstrip("#").split()[0] for line in conf if is_directive(line)
        }
    assert "port" in names and len(names) > 20
    missing = [name for name in names if "--" + name not in text]
    assert not missing


def is_directive(line):
    """In our conf files a directive at its default stands as "#name value", prose as "# Prose"."""
    return re.match(r"#?[a-z]", line) is not None


@pytest.mark.parametrize("program", PROGRAMS)
def test_version(program):
    code, text = run(program, "--version")
    assert code == 0
    assert program in text and "7.0.15" in text


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    "line, reason",
    [
        ("no-such-directive yes", "no-such-directive"),
        ("port 123456789", "port"),
        ("port abc", "port"),
        ("port", "port"),
        ("maxclients -1", "maxclients"),
        ("maxmemory lots", "maxmemory"),
        ('requirepass "never closed', "quote"),
    ],
)
def test_a_wrong_line_stops_the_start_with_file_line_and_reason(program, line, reason):
    if program == "shoal-proxy" and line.startswith("maxmemory"):
        line, reason = "local-nodes many", "local-nodes"
    conf = os.path.join(temp_dir(), "wrong.conf")
    with open(conf, "w", encoding="utf-8") as file:
        file.write(f"# a comment\n\n{line}\nport 1\n")
    code, text = run(program, conf)
    assert code != 0
    assert f"{conf}:3" in text, text
    assert reason in text, text


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_argument_stops_the_start_with_its_reason(program):
    code, text = run(program, "--no-such-directive", "yes")
    assert code != 0 and "no-such-directive" in text
    code, text = run(program, "--port", "ninety")
    assert code != 0 and "command line" in text and "'port'" in text


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_missing_conf_file_is_named(program):
    code, text = run(program, "/nowhere/x.conf")
    assert code != 0 and "/nowhere/x.conf" in text


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_conf_file_we_ship_is_accepted(program):
    """Also with every directive in it switched on at the default that it shows."""
    conf = os.path.join(temp_dir(), "all.conf")
    with open(f"{ROOT}/conf/{program}.conf", encoding="utf-8") as shipped:
        text = "".join(line.lstrip("#") if is_directive(line) else line for line in shipped)
    with open(conf, "w", encoding="utf-8") as file:
        file.write(text)
    for path in (f"{ROOT}/conf/{program}.conf", conf):
        code, text = run(program, path, "--port", "ninety")
        # It came as far as our own mistake, which comes after the file.
        assert code != 0 and "command line" in text, text


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_conf_file_we_ship_is_what_the_program_prints(program):
    code, text = run(program, "--print-conf")
    assert code == 0
    with open(f"{ROOT}/conf/{program}.conf", encoding="utf-8") as shipped:
        assert text == shipped.read(), f"make it anew: {program} --print-conf >conf/{program}.conf"


@pytest.mark.parametrize("program", PROGRAMS)
def test_arguments_win_over_the_file(program):
    directory = temp_dir()
    conf = os.path.join(directory, "x.conf")
    with open(conf, "w", encoding="utf-8") as file:
        file.write("maxclients 77\ntimeout 33\n")
    port = free_port()
    argv = [bin_path(program), conf, "--port", port, "--dir", directory, "--maxclients", "99"]
    argv += ["--stand-alone", "yes"] if program == "shoal-node" else ["--local-nodes", "1"]
    from support.programs import Server

    server = Server(argv, port, name=program, directory=directory).ready()
    assert server.r.config_get("maxclients") == {"maxclients": "99"}
    assert server.r.config_get("timeout") == {"timeout": "33"}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(program, number):
    server = start(program).ready()
    port = server.port
    with server.wire() as idle, server.wire() as busy:
        busy.send(encode("SET", "a", "1") * 400)
        assert busy.reply() == b"OK"
        began = time.monotonic()
        server.signal(number)
        assert server.wait(limit=5) == 0
        assert time.monotonic() - began < 5 * PATIENCE
        assert busy.rest().count(b"+OK\r\n") == 399  # what was in flight was answered
        assert idle.is_closed()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_local_nodes_end_with_their_proxy():
    proxy = Proxy(local_nodes=3).ready()
    nodes = proxy.children()
    assert len(nodes) == 3
    assert proxy.stop() == 0
    assert not [pid for pid in nodes if os.path.exists(f"/proc/{pid}")]


def test_local_nodes_end_even_when_their_proxy_is_killed():
    proxy = Proxy(local_nodes=3).ready()
    nodes = proxy.children()
    proxy.signal(signal.SIGKILL)
    proxy.popen.wait()
    wait_until(lambda: not [pid for pid in nodes if is_running(pid)], what="the nodes to end")
    proxy.kill()
    proxy.popen.returncode = 0  # as this test meant it to be


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_port_in_use_is_a_clear_error(program):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        arguments = ["--local-nodes", "1"] if program == "shoal-proxy" else ["--stand-alone", "yes"]
        code, text = run(program, "--port", port, "--dir", temp_dir(), *arguments)
    assert code != 0
    assert str(port) in text and "ddress already in use" in text


def test_two_proxies_do_not_share_a_port():
    """Workers share a port among themselves; a second proxy must not join them unnoticed."""
    first = Proxy(local_nodes=1).ready()
    code, text = run("shoal-proxy", "--port", first.port, "--dir", temp_dir(), "--local-nodes", "1")
    assert code != 0
    assert str(first.port) in text and "ddress already in use" in text
    assert first.r.ping()


@pytest.mark.parametrize("program", PROGRAMS)
def test_systemd_is_told_when_it_is_ready(program):
    path = os.path.join(temp_dir(), "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(15 * PATIENCE)
        server = start_with_env(program, {"NOTIFY_SOCKET": path})
        assert b"READY=1" in notify.recv(4096)
        assert server.answers()


def start_with_env(program, env):
    from support.programs import Server

    port, directory = free_port(), temp_dir()
    argv = [bin_path(program), "--port", port, "--dir", directory]
    argv += ["--stand-alone", "yes"] if program == "shoal-node" else ["--local-nodes", "1"]
    return Server(argv, port, name=program, directory=directory, env=env)


def test_the_proxy_says_when_it_is_ready():
    proxy = Proxy(local_nodes=2).ready()
    wait_until(lambda: "ready" in proxy.output().lower(), what="a line that says ready")
    with proxy.wire() as wire:  # from then on, nothing is refused
        assert wire.command("SET", "a", "1") == b"OK"


@pytest.mark.parametrize("program", PROGRAMS)
def test_logs_in_json(program):
    import json

    server = start(program, log_format="json").ready()
    lines = [line for line in server.output().splitlines() if line.startswith("{")]
    assert lines
    for line in lines:
        event = json.loads(line)
        assert {"time", "level"} <= set(event), line


@pytest.mark.parametrize("program", PROGRAMS)
def test_secrets_do_not_reach_the_log(program):
    server = start(program, requirepass="s3cr3t-of-ours", loglevel="debug")
    client = server.client(password="s3cr3t-of-ours")
    wait_until(lambda: client.set("key-of-ours", "value-of-ours"), limit=15)
    client.config_set("requirepass", "another-s3cr3t")
    server.client(password="another-s3cr3t").get("key-of-ours")
    text = server.output()
    assert "s3cr3t" not in text and "value-of-ours" not in text


@pytest.mark.parametrize("program", PROGRAMS)
def test_check_conf_says_what_is_wrong_and_starts_nothing(program):
    assert run(program, "--check-conf", f"{ROOT}/conf/{program}.conf", "--port", "1") == (0, "")
    code, text = run(program, "--check-conf", "--port", "ninety")
    assert code == 1 and "'port'" in text


@pytest.mark.parametrize("program", PROGRAMS)
def test_one_that_does_not_start_leaves_the_pid_file_and_says_why_in_its_log(program):
    directory = temp_dir()
    pidfile = os.path.join(directory, "pid")
    server = start(program, pidfile=pidfile).ready()
    log = os.path.join(directory, "log")
    code, _ = run(
        program, "--port", server.port, "--dir", temp_dir(), "--pidfile", pidfile, "--logfile", log
    )
    assert code == 1
    with open(log, encoding="utf-8") as file:
        assert "not started: " in file.read()
    with open(pidfile, encoding="ascii") as file:
        assert int(file.read()) == server.pid
    server.stop()
    assert not os.path.exists(pidfile)
