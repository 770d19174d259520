"""Nodes that a proxy starts itself: what they are told, and what becomes of it."""
import os
import signal

import pytest
from support.process import temp_dir
from support.programs import Proxy
from support.wait import wait_until
from test_10_start_stop import run


def start_and_fail(*arguments):
    code, text = run("shoal-proxy", "--port", "0", "--dir", temp_dir(), "--local-nodes", "2", *arguments)
    assert code == 1
    return text


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (("--node-no-such-directive", "1"), "directive 'no-such-directive': unknown directive"),
        (("--node-maxmemory", "lots"), "directive 'maxmemory'"),
        (("--node-port", "7000"), "directive 'node-port': each local node has its own"),
        (("--node-dir", "/tmp"), "directive 'node-dir': each local node has its own"),
    ],
)
def test_a_wrong_directive_for_them_stops_the_start(arguments, reason):
    assert reason in start_and_fail(*arguments)


def test_without_them_their_directives_are_told_to_mean_nothing():
    proxy = Proxy(node_maxmemory="1gb").ready()
    assert "directives without effect here: node-maxmemory" in proxy.output()


def arguments_of(proxy):
    texts = []
    for pid in proxy.children():
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            texts.append(file.read())
    return b" ".join(texts)


def kill_one(proxy):
    """And waits until another is in its place."""
    before = proxy.children()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(set(proxy.children()) - set(before)) == 1, what="a new node")


def all_healthy(client):
    lines = client.execute_command("PROXY", "NODES")
    return len(lines) == 3 and all("state=healthy connected=yes" in line for line in lines)


@pytest.mark.parametrize("node_password", [None, "of the nodes"])
def test_they_know_the_password_that_holds_when_they_start(node_password):
    more = {"node_password": node_password} if node_password else {}
    proxy = Proxy(local_nodes=3, requirepass='a "first one', **more)
    client = proxy.client(password='a "first one')
    wait_until(lambda: answers(client) and all_healthy(client), what="three nodes")
    assert b"first one" not in arguments_of(proxy)
    assert b"of the nodes" not in arguments_of(proxy)
    for password in ("second", ""):
        client.config_set("requirepass", password)
        client = proxy.client(password=password or None)
        kill_one(proxy)
        wait_until(lambda: all_healthy(client), what="the new node to be taken")
        assert client.set("a", password)


def answers(client):
    try:
        return client.ping()
    except Exception:
        return False
