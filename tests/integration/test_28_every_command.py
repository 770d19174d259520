"""docs/COMPATIBILITY.md is true: what it calls served does what redis-server does, all else says so."""
import os
import re

import pytest
from support.every_command import CALLS, IN_CLUSTER, OUR_OWN, Asked, Everything, call_of, names
from support.programs import ROOT, RedisServer
from support.wire import Error

# Of the commands that Redis 7.0 has not got the page shows all but PROXY.
PAGE = os.path.join(ROOT, "docs", "COMPATIBILITY.md")
ROW = re.compile(r"\| ([A-Z][A-Z0-9_ -]*) \| (yes|no) \| (yes|no) \| (.*) \|")


@pytest.fixture
def everything():
    return Everything()


def test_the_calls_are_calls_of_every_command(everything):
    ours = {name for group in names(everything.alone).values() for name in group}
    assert ours == CALLS.keys() | IN_CLUSTER.keys() | OUR_OWN.keys()
    redis = RedisServer().ready()
    assert {name for group in names(redis).values() for name in group} <= ours


@pytest.mark.parametrize("calls,options", [
    (CALLS, {"enable_debug_command": "yes", "enable_module_command": "yes"}),
    (IN_CLUSTER, {"cluster_enabled": "yes"}),
], ids=["alone", "in a cluster"])
def test_redis_serves_every_call(calls, options):
    redis = Asked(RedisServer(**options).ready())
    answers = {name: redis.serves(name) for name in calls}
    assert {name: reply for name, (served, reply) in answers.items() if not served} == {}


def test_the_page_says_what_is_served(everything):
    with open(PAGE, encoding="utf-8") as file:
        rows = [match.groups() for match in map(ROW.match, file) if match]
    said = {name.replace(" ", "|").lower(): marks for name, *marks in rows}
    every = {name for group in names(everything.alone).values() for name in group}
    assert said.keys() == {name for name in every if not name.startswith("proxy|")}
    wrong = {}
    for name, (node, proxy, limits) in said.items():
        for server, mark in ((everything.node_for(name), node), (everything.proxy, proxy)):
            served, reply = everything.serves(server, name)
            if served != (mark == "yes"):
                wrong[f"{name} of {server.name}"] = (mark, reply)
    assert wrong == {}


def test_what_is_not_served_says_so_and_the_connection_goes_on(everything):
    refused = []
    for name in CALLS.keys() | IN_CLUSTER.keys():
        if name in ("quit", "shutdown", "monitor", "sync", "psync", "replconf"):
            continue
        for server in (everything.node_for(name), everything.proxy):
            with server.wire() as wire:
                asked = everything.asked[server]
                reply = asked.on(wire, name)
                if isinstance(reply, Error) and not asked.understood(name, reply):
                    refused.append(name)
                    assert not reply.startswith("ERR unknown"), (name, server.name, reply)
                    assert wire.command("PING") == b"PONG", (name, server.name)
    assert "cluster|addslots" in refused and "replicaof" in refused


def test_a_proxy_has_no_command_of_the_nodes_own(everything):
    redis = RedisServer().ready()
    with everything.proxy.wire() as wire, redis.wire() as other:
        for words in (("SHOAL", "SHARDS"), ("shoal", "LANE", "1"), ("SHOAL",), ("NOSUCH", "a", "b")):
            assert wire.command(*words) == other.command(*words)
            assert wire.command("MULTI") == b"OK"
            assert isinstance(wire.command(*words), Error)
            assert wire.command("EXEC").startswith("EXECABORT")
            assert wire.command("COMMAND", "INFO", words[0]) == [None]
        assert wire.command("COMMAND", "COUNT") == len(wire.command("COMMAND")) == len(wire.command("COMMAND", "DOCS")) / 2
        assert b"shoal" not in wire.command("COMMAND", "LIST")
        assert b"shoal" not in wire.command("ACL", "CAT", "admin")
