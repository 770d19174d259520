"""Users and their rules, on a node and through a proxy with several workers: what ACL's own tests in
Redis's suite can't see, since they talk to one server."""
import hashlib

import pytest
from support.cluster import Cluster
from support.process import free_port
from support.programs import Node, Proxy, Server, bin_path
from support.wait import wait_until
from support.wire import Error

KEY_ERROR = "NOPERM this user has no permissions to access one of the keys used as arguments"
RUN_ERROR = "NOPERM this user has no permissions to run the '{}' command"


def user_wire(server, name, password="secret"):
    wire = server.wire()
    assert wire.command("AUTH", name, password) == b"OK"
    return wire


@pytest.fixture(params=["node", "proxy"], scope="module")
def server(request):
    """A node, or a proxy with two workers."""
    if request.param == "node":
        one = Node().ready()
    else:
        one = Proxy(local_nodes=2, workers=2, cluster_view="proxy").ready()
    one.lasting = True
    yield one
    code = one.stop()
    assert code == 0, one.output(50)


@pytest.fixture
def admin(server):
    with server.wire() as wire:
        yield wire
        for name in wire.command("ACL", "USERS"):
            if name != b"default":
                wire.command("ACL", "DELUSER", name)


def test_every_connection_goes_by_a_change_at_once(server, admin):
    assert admin.command("ACL", "SETUSER", "al", "on", ">secret", "~app:*", "+@read", "+set") == b"OK"
    wires = [user_wire(server, "al") for _ in range(8)]
    for wire in wires:
        assert wire.command("SET", "app:1", "x") == b"OK"
        assert wire.command("GET", "other") == Error(KEY_ERROR)
        assert wire.command("DEL", "app:1") == Error(RUN_ERROR.format("del"))
    assert admin.command("ACL", "SETUSER", "al", "-set", "resetkeys", "~new:*") == b"OK"
    for wire in wires:
        assert wire.command("SET", "app:1", "x") == Error(RUN_ERROR.format("set"))
        assert wire.command("GET", "app:1") == Error(KEY_ERROR)
        assert wire.command("GET", "new:1") is None
    assert admin.command("ACL", "DELUSER", "al") == 1
    for wire in wires:
        wait_until(wire.is_closed, 10, "the clients of a deleted user are closed")


def test_all_keys_of_a_command_are_checked(server, admin):
    assert admin.command("ACL", "SETUSER", "al", "on", ">secret", "~a*", "%R~r*", "+@all") == b"OK"
    with user_wire(server, "al") as wire:
        assert wire.command("MSET", "a1", "1", "a2", "2") == b"OK"
        assert wire.command("MSET", "a1", "1", "b2", "2") == Error(KEY_ERROR)
        assert wire.command("MGET", "a1", "r1", "a2") == [b"1", None, b"2"]
        assert wire.command("DEL", "a1", "r1") == Error(KEY_ERROR)
        assert wire.command("DEL", "a1", "a2") == 2


def test_who_is_refused_is_in_the_log(server, admin):
    admin.command("ACL", "LOG", "RESET")
    assert admin.command("ACL", "SETUSER", "al", "on", ">secret", "~a*", "+get", "+multi", "+exec") == b"OK"
    for _ in range(3):
        with user_wire(server, "al") as wire:
            assert wire.command("GET", "zzz") == Error(KEY_ERROR)
    with server.wire() as wire:
        assert wire.command("AUTH", "al", "wrong").startswith("WRONGPASS")

    def entries():
        found = []
        for entry in admin.command("ACL", "LOG"):
            pairs = dict(zip(entry[::2], entry[1::2]))
            found.append((pairs[b"count"], pairs[b"reason"], pairs[b"object"], pairs[b"username"]))
        return found

    expected = [(1, b"auth", b"AUTH", b"al"), (3, b"key", b"zzz", b"al")]
    wait_until(lambda: entries() == expected, 10, "what was refused, on all workers, in the log")


def test_what_a_transaction_may_not_do_spoils_it(server, admin):
    assert admin.command("ACL", "SETUSER", "al", "on", ">secret", "~a*", "+@all", "-incr") == b"OK"
    with user_wire(server, "al") as wire:
        assert wire.command("MULTI") == b"OK"
        assert wire.command("SET", "a", "1") == b"QUEUED"
        assert wire.command("INCR", "a") == Error(RUN_ERROR.format("incr"))
        assert wire.command("EXEC").startswith("EXECABORT")
        assert wire.command("GET", "a") is None


def test_exec_goes_by_the_rules_of_its_time(server, admin):
    assert admin.command("ACL", "SETUSER", "al", "on", ">secret", "~{a}*", "&*", "+@all") == b"OK"
    script = "return redis.call('get', KEYS[1])"
    with user_wire(server, "al") as wire:
        def queue():
            assert wire.command("MULTI") == b"OK"
            for words in (["SET", "{a}1", "1"], ["INCR", "{a}1"], ["EVAL", script, 1, "{a}1"], ["GET", "{a}2"], ["DBSIZE"], ["GET", "{a}1"]):
                assert wire.command(*words) == b"QUEUED"

        queue()
        admin.command("ACL", "SETUSER", "al", "-incr", "-dbsize", "-get", "resetkeys", "~{a}1")
        reply = wire.command("EXEC")
        changed = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: "
        run, touch = (changed + "no permission to execute the command or subcommand", changed + "no permission to touch the specified keys")
        assert reply[0] == b"OK" and reply[1] == Error(run) and reply[4:] == [Error(run), Error(run)]
        assert reply[3] in (Error(run), Error(touch))
        assert "can't run this command" in reply[2]  # what the script may do follows the new rules, too
        # More than before, and no rules any more.
        admin.command("ACL", "SETUSER", "al", "allkeys", "+get", "+incr", "+dbsize")
        queue()
        admin.command("ACL", "SETUSER", "al", "reset", "on", ">secret", "~*", "&*", "+@all")
        reply = wire.command("EXEC")
        assert reply[:4] == [b"OK", 2, b"2", None] and reply[4] > 0 and reply[5] == b"2"
        # All of it is refused; nothing else is.
        queue()
        admin.command("ACL", "SETUSER", "al", "-@all", "+exec")
        assert wire.command("EXEC") == [Error(run)] * 6
        assert admin.command("GET", "{a}1") == b"2"
        admin.command("DEL", "{a}1")


def test_scripts_may_do_what_their_user_may(server, admin):
    rules = ["on", ">secret", "~a*", "+@all", "-incr", "-@dangerous"]
    assert admin.command("ACL", "SETUSER", "al", *rules) == b"OK"
    with user_wire(server, "al") as wire:
        assert wire.command("EVAL", "return redis.call('set', KEYS[1], 'x')", 1, "a1") == b"OK"
        refused = wire.command("EVAL", "return redis.call('incr', KEYS[1])", 1, "a1")
        assert "can't run this command or subcommand" in refused
        assert wire.command("EVAL", "return 1", 1, "b1") == Error(KEY_ERROR)
        may = "return redis.acl_check_cmd('get', KEYS[1]) and not redis.acl_check_cmd('incr', KEYS[1])"
        assert wire.command("EVAL", may, 1, "a1") == 1
        assert wire.command("MULTI") == b"OK"
        assert wire.command("EVAL", "return redis.pcall('incr', KEYS[1])", 1, "a1") == b"QUEUED"
        answers = wire.command("EXEC")
        assert "can't run this command or subcommand" in answers[0]
        assert wire.command("GET", "a1") == b"x"
    # Who may do everything is not held up, on the same connections to the nodes.
    assert admin.command("EVAL", "return redis.call('incr', KEYS[1])", 1, "a2") == 1


def test_the_default_user_can_be_closed(server, admin):
    assert admin.command("ACL", "SETUSER", "al", "on", ">secret", "allkeys", "+@all") == b"OK"
    assert admin.command("ACL", "SETUSER", "default", "off") == b"OK"
    try:
        with server.wire() as wire:
            assert wire.command("GET", "x") == Error("NOAUTH Authentication required.")
            assert wire.command("AUTH", "al", "secret") == b"OK"
            assert wire.command("GET", "x") is None
            assert wire.command("ACL", "WHOAMI") == b"al"
            assert b"user=al" in wire.command("CLIENT", "INFO")
    finally:
        assert admin.command("ACL", "SETUSER", "default", "on") == b"OK"


def test_plain_passwords_are_kept_nowhere(server, admin):
    assert admin.command("ACL", "SETUSER", "al", "on", ">secret") == b"OK"
    digest = hashlib.sha256(b"secret").hexdigest().encode()
    listed = b" ".join(admin.command("ACL", "LIST"))
    assert digest in listed and b"secret" not in listed


@pytest.mark.parametrize("kind", ["node", "proxy"])
def test_users_come_back_from_their_file(kind, tmp_path):
    def start():
        options = {"aclfile": str(tmp_path / "users.acl"), "directory": str(tmp_path)}
        return (Node(**options) if kind == "node" else Proxy(local_nodes=1, **options)).ready()

    (tmp_path / "users.acl").write_text("user al on >secret ~a* +@all\n", encoding="utf-8")
    server = start()
    with user_wire(server, "al") as wire:
        assert wire.command("GET", "b") == Error(KEY_ERROR)
    with server.wire() as wire:
        assert wire.command("ACL", "SETUSER", "bo", "on", ">secret", "~b*", "+get") == b"OK"
        assert wire.command("ACL", "SAVE") == b"OK"
    assert server.stop() == 0
    assert "secret" not in (tmp_path / "users.acl").read_text(encoding="utf-8")
    server = start()
    with user_wire(server, "bo") as wire:
        assert wire.command("GET", "b") is None
        assert wire.command("GET", "a") == Error(KEY_ERROR)
    # A file with a fault changes nothing.
    with open(tmp_path / "users.acl", "a", encoding="utf-8") as file:
        file.write("user al on nopass\n")
    with server.wire() as wire:
        assert "Duplicate user 'al' found" in wire.command("ACL", "LOAD")
        assert wire.command("ACL", "USERS") == [b"al", b"bo", b"default"]
    assert server.stop() == 0


def test_a_rewritten_config_has_the_users(tmp_path):
    path, port = str(tmp_path / "node.conf"), free_port()

    def start():
        return Server([bin_path("shoal-node"), path], port, name="node", directory=str(tmp_path)).ready()

    with open(path, "w", encoding="utf-8") as file:
        file.write(f"port {port}\ndir {tmp_path}\nstand-alone yes\nuser al on >secret ~a* +get\n")
    server = start()
    with server.wire() as wire:
        assert wire.command("ACL", "SETUSER", "bo", "on", ">secret", "~b*", "+get") == b"OK"
        assert wire.command("CONFIG", "REWRITE") == b"OK"
    assert server.stop() == 0
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert "secret" not in text and text.count("user ") == 3
    server = start()
    with user_wire(server, "bo") as wire:
        assert wire.command("GET", "b") is None
    assert server.stop() == 0


def test_evictions_reach_the_copies():
    """Each node evicts what it serves; its copies elsewhere follow, key by key."""
    cluster = Cluster(replication_factor=2, min_nodes=2)
    names = ["a", "b"]
    nodes = [cluster.start_node(name, maxmemory="12mb", maxmemory_policy="allkeys-lru") for name in names]
    cluster.wait_served()
    with cluster.proxy.wire() as wire:

        for i in range(4000):
            assert wire.command("SET", f"key:{i}", "x" * 4000) == b"OK"

        def evicted():
            return sum(int(node.info("stats")["evicted_keys"]) for node in nodes)

        # Memory that is full of copies is made room in by their primary too: neither pays for all.
        assert min(int(node.info("stats")["evicted_keys"]) for node in nodes) > 400

        seen = []

        def settled():
            seen.append((wire.command("DBSIZE"), evicted()))
            return len(seen) > 5 and len(set(seen[-5:])) == 1

        wait_until(settled, 10, "no more evictions")
        keys, gone = seen[-1]
        assert 0 < keys < 4000
        assert keys + gone == 4000
