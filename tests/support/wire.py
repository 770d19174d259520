"""A raw connection that sends bytes as they are and reads RESP2 and RESP3 replies as they come."""
import socket

from .wait import PATIENCE


class Error(str):
    """An error reply, compared as its text."""


class Push(list):
    """An out-of-band message of RESP3."""


class Closed(Exception):
    """The other side closed the connection."""


def encode(*args):
    """A command as a RESP array of bulk strings."""
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        data = arg if isinstance(arg, bytes) else str(arg).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(out)


class Wire:
    """One connection."""

    def __init__(self, port, host="127.0.0.1", limit=10.0):
        self.socket = socket.create_connection((host, port), timeout=limit * PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def command(self, *args):
        """Sends a command and reads its reply. Error replies are returned, not raised."""
        self.send(encode(*args))
        return self.reply()

    def ask(self, data):
        """Sends bytes and reads one reply."""
        self.send(data)
        return self.reply()

    def _more(self):
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(f"connection closed with {self.buffer!r} unread")
        self.buffer += data

    def line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def exactly(self, count):
        chunks = [self.buffer]
        have = len(self.buffer)
        while have < count:
            data = self.socket.recv(min(1 << 20, count - have + 4096))
            if not data:
                raise Closed(f"connection closed {count - have} bytes early")
            chunks.append(data)
            have += len(data)
        whole = b"".join(chunks)
        self.buffer = whole[count:]
        return whole[:count]

    def reply(self):
        """The next reply: bytes, int, float, bool, None, list, dict, set, Error or Push."""
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return Error(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind in (b"$", b"="):
            if rest == b"-1":
                return None
            data = self.exactly(int(rest) + 2)[:-2]
            return data[4:] if kind == b"=" else data
        if kind in (b"*", b">", b"~"):
            if rest == b"-1":
                return None
            items = [self.reply() for _ in range(int(rest))]
            if kind == b">":
                return Push(items)
            return items if kind == b"*" else set(items)
        if kind == b"%":
            return {_hashable(self.reply()): self.reply() for _ in range(int(rest))}
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"(":
            return int(rest)
        if kind == b"!":
            return Error(self.exactly(int(rest) + 2)[:-2].decode("utf-8", "replace"))
        if kind == b"|":
            for _ in range(2 * int(rest)):
                self.reply()
            return self.reply()
        raise AssertionError(f"not a reply: {line!r}")

    def rest(self):
        """Everything until the other side closes."""
        while True:
            try:
                self._more()
            except Closed:
                data, self.buffer = self.buffer, b""
                return data

    def is_closed(self):
        """True when the other side has closed and nothing more is to be read."""
        try:
            self._more()
        except Closed:
            return True
        return False


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value
