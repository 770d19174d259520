"""The protocol byte by byte, as Redis 7.0 speaks it: the same on a node and on a proxy."""
import pytest
from support.wait import wait_until
from support.wire import Closed, Error, encode


def test_ping_in_every_form(server):
    with server.wire() as wire:
        assert wire.ask(b"*1\r\n$4\r\nPING\r\n") == b"PONG"
        assert wire.ask(b"PING\r\n") == b"PONG"
        assert wire.ask(b"ping\n") == b"PONG"
        assert wire.command("PING", "hello") == b"hello"
        assert wire.ask(b"PING hello\r\n") == b"hello"
        assert "wrong number of arguments for 'ping' command" in wire.command("PING", "a", "b")


def test_empty_lines_and_empty_arrays_are_skipped(server):
    with server.wire() as wire:
        assert wire.ask(b"\r\n\r\n*0\r\n*-1\r\n*-10\r\nPING\r\n") == b"PONG"


def test_inline_quotes(server):
    with server.wire() as wire:
        assert wire.ask(b'ECHO "a b\\x41\\n\\"c"\r\n') == b'a bA\n"c'
        assert wire.ask(b"ECHO 'it\\'s \\n'\r\n") == b"it's \\n"
        assert wire.ask(b"   ECHO    x   \r\n") == b"x"


@pytest.mark.parametrize(
    "data, error",
    [
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "Protocol error: expected '$', got 'f'"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", "Protocol error: invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n", "Protocol error: invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", "Protocol error: invalid bulk length"),
        (b"*3000000000\r\n", "Protocol error: invalid multibulk length"),
        (b"*abc\r\n", "Protocol error: invalid multibulk length"),
        (b'*1\r\n$4\r\nPING\r\nSET "unfinished\r\n', None),
        (b'SET "unfinished\r\n', "Protocol error: unbalanced quotes in request"),
        (b"ECHO 'a'b\r\n", "Protocol error: unbalanced quotes in request"),
    ],
)
def test_broken_requests_are_answered_and_end_the_connection(server, data, error):
    with server.wire() as wire:
        reply = wire.ask(data)
        if error is None:
            assert reply == b"PONG"
            error = "Protocol error: unbalanced quotes in request"
            reply = wire.reply()
        assert isinstance(reply, Error) and error in reply
        assert wire.is_closed()
    assert server.r.ping()


@pytest.mark.parametrize(
    "start, error",
    [
        (b"", "too big inline request"),
        (b"*", "too big mbulk count string"),
        (b"*1\r\n$", "too big bulk count string"),
    ],
)
def test_a_line_without_end_is_cut_off_after_64_kib(server, start, error):
    with server.wire() as wire:
        wire.send(start)
        try:
            for _ in range(40):
                wire.send(b"1" * 4096)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            reply = wire.reply()
        except Closed:
            return  # the rest of our flood crossed the answer: the connection was reset
        assert isinstance(reply, Error) and error in reply


def test_a_request_in_single_bytes(empty):
    with empty.wire() as wire:
        for byte in encode("SET", "slow", "value") + encode("GET", "slow"):
            wire.send(bytes([byte]))
        assert wire.reply() == b"OK"
        assert wire.reply() == b"value"


def test_pipelines_are_answered_in_order(empty):
    count = 20000
    with empty.wire(limit=60) as wire:
        batch = []
        for i in range(count):
            batch.append(encode("SET", f"key:{i}", i))
            batch.append(encode("GET", f"key:{i}"))
            batch.append(encode("ECHO", i))
            if i % 100 == 99:
                wire.send(b"".join(batch))
                batch = []
                for j in range(i - 99, i + 1):
                    expected = str(j).encode()
                    assert [wire.reply(), wire.reply(), wire.reply()] == [b"OK", expected, expected]
    assert empty.r.dbsize() == count


def test_errors_inside_a_pipeline_do_not_shift_replies(empty):
    with empty.wire() as wire:
        wire.send(
            encode("SET", "text", "abc")
            + encode("INCR", "text")
            + encode("NOSUCHCOMMAND", "x")
            + encode("GET")
            + encode("GET", "text")
            + encode("PING")
        )
        assert wire.reply() == b"OK"
        assert wire.reply() == "ERR value is not an integer or out of range"
        reply = wire.reply()
        assert reply.startswith("ERR unknown command 'NOSUCHCOMMAND', with args beginning with: 'x'")
        assert wire.reply() == "ERR wrong number of arguments for 'get' command"
        assert wire.reply() == b"abc"
        assert wire.reply() == b"PONG"


def test_binary_keys_and_values(empty):
    everything = bytes(range(256)) * 4
    with empty.wire() as wire:
        assert wire.command("SET", everything, everything[::-1]) == b"OK"
        assert wire.command("GET", everything) == everything[::-1]
        assert wire.command("KEYS", "*") == [everything]
        assert wire.command("SET", "", "") == b"OK"
        assert wire.command("GET", "") == b""
        assert wire.command("DEL", "", everything) == 2


def test_quit_answers_and_closes_and_runs_nothing_after(empty):
    with empty.wire() as wire:
        wire.send(encode("SET", "a", "1") + encode("QUIT") + encode("SET", "a", "2"))
        assert wire.reply() == b"OK"
        assert wire.reply() == b"OK"
        assert wire.is_closed()
    assert empty.r.get("a") == "1"


def test_hello_switches_protocol(empty):
    with empty.wire() as wire:
        two = wire.command("HELLO")
        assert isinstance(two, list) and two[two.index(b"proto") + 1] == 2
        three = wire.command("HELLO", "3", "SETNAME", "me")
        assert isinstance(three, dict)
        assert three[b"proto"] == 3 and three[b"server"] == b"redis"
        assert wire.command("CLIENT", "GETNAME") == b"me"
        assert wire.ask(encode("GET", "nothing")) is None
        config = wire.command("CONFIG", "GET", "maxclients")
        assert isinstance(config, dict) and list(config) == [b"maxclients"]
        assert wire.command("HELLO", "4") == "NOPROTO unsupported protocol version"
        assert isinstance(wire.command("HELLO", "2"), list)
        error = wire.command("HELLO", "abc")
        assert error == "ERR Protocol version is not an integer or out of range"
        assert wire.command("HELLO", "3", "NONSENSE").startswith("ERR Syntax error in HELLO option")


def test_resp3_nil_is_underscore(empty):
    with empty.wire() as wire:
        wire.command("HELLO", "3")
        wire.send(encode("GET", "nothing"))
        assert wire.line() == b"_"
        wire.send(encode("MGET", "a", "b"))
        assert [wire.line() for _ in range(3)] == [b"*2", b"_", b"_"]


def test_reset_gives_a_fresh_connection(empty):
    with empty.wire() as wire:
        wire.command("HELLO", "3", "SETNAME", "me")
        wire.command("SELECT", "3")
        wire.command("MULTI")
        assert wire.command("RESET") == b"RESET"
        assert isinstance(wire.command("HELLO"), list)
        assert wire.command("CLIENT", "GETNAME") in (None, b"")
        assert wire.command("EXEC") == "ERR EXEC without MULTI"
        wire.command("SET", "k", "v")
    assert empty.r.get("k") == "v"


def test_client_reply_off_skip_on(empty):
    with empty.wire() as wire:
        wire.send(encode("CLIENT", "REPLY", "OFF") + encode("SET", "a", "1") + encode("PING"))
        assert wire.command("CLIENT", "REPLY", "ON") == b"OK"
        wire.send(encode("CLIENT", "REPLY", "SKIP") + encode("SET", "a", "2"))
        assert wire.command("GET", "a") == b"2"


def test_one_reply_is_skipped_also_of_a_command_that_waits(empty):
    with empty.wire() as wire:
        for waits in (["BLPOP", "nothing", "0.01"], ["WAIT", "3", "10"]):
            wire.send(encode("CLIENT", "REPLY", "SKIP") + encode(*waits))
            assert wire.command("ECHO", "next") == b"next"


def test_a_client_that_sends_and_closes_is_still_obeyed(empty):
    """What was sent before the end of the stream is executed, and its replies leave."""
    import socket

    with empty.wire() as wire:
        wire.send(b"".join(encode("INCR", "n") for _ in range(1000)))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.rest().endswith(b":1000\r\n")
    assert empty.r.get("n") == "1000"


def test_a_client_that_vanishes_leaves_nothing_behind(server):
    with server.wire() as one:
        one.command("CLIENT", "SETNAME", "vanishing")
        assert any(c["name"] == "vanishing" for c in server.r.client_list())
    wait_until(
        lambda: not any(c["name"] == "vanishing" for c in server.r.client_list()),
        what="the client to leave CLIENT LIST",
    )


def test_a_big_pipeline_without_reading_does_not_harm_others(empty):
    """A client that sends and never reads is held back; others are served meanwhile."""
    value = "v" * 10000
    empty.r.set("big", value)
    with empty.wire(limit=60) as greedy:
        greedy.socket.settimeout(0.2)
        request = encode("GET", "big") * 100
        sent = 0
        try:
            while sent < 3000:
                greedy.socket.sendall(request)
                sent += 100
        except (TimeoutError, OSError):
            pass  # held back, which is right
        assert empty.r.ping()
        assert empty.r.get("big") == value
    assert empty.r.ping()
