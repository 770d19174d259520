"""Clients that check every single reply: deep pipelines cut anywhere, private keys with values that
were never written before, and a model of what each command must answer.

A Talker knows what its keys hold, because nobody else writes them. Replies come in request order, so
the model moves on with each reply. A reply that belongs to someone else, comes twice, too early or
not at all, shows as a mismatch, at the latest with the next one: nearly every reply is unique.
"""
import collections
import random
import selectors
import socket
import struct
import time

from .wait import PATIENCE
from .wire import Error, encode

ANY = object()  # a key whose value is not known: a write of unknown outcome


class Mismatch(AssertionError):
    """A reply that cannot be the request's own."""


class Incomplete(Exception):
    """More bytes are needed."""


class Replies:
    """Parses replies as they come, RESP2 and RESP3."""

    def __init__(self):
        self.buffer = bytearray()
        self.at = 0

    def feed(self, data):
        if self.at > 1 << 20:
            del self.buffer[: self.at]
            self.at = 0
        self.buffer += data

    def next(self):
        """The next reply; Incomplete when it is not all there."""
        value, self.at = self._parse(self.at)
        return value

    def left(self):
        return len(self.buffer) - self.at

    def _parse(self, at):
        end = self.buffer.find(b"\r\n", at)
        if end < 0:
            raise Incomplete
        kind = self.buffer[at : at + 1]
        rest = bytes(self.buffer[at + 1 : end])
        at = end + 2
        if kind == b"+":
            return rest, at
        if kind == b"-":
            return Error(rest.decode("utf-8", "replace")), at
        if kind == b":":
            return int(rest), at
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None, at
            if len(self.buffer) < at + size + 2:
                raise Incomplete
            return bytes(self.buffer[at : at + size]), at + size + 2
        if kind in b"*~>%":
            count = int(rest) * (2 if kind == b"%" else 1)
            if count < 0:
                return None, at
            items = []
            for _ in range(count):
                item, at = self._parse(at)
                items.append(item)
            return items, at
        if kind == b"_":
            return None, at
        raise Mismatch(f"not a reply: {bytes(self.buffer[at - 20 : end + 40])!r}")


class Rules:
    """What may go wrong in this run, besides nothing."""

    def __init__(self, errors=(), loses=False):
        self.errors = tuple(errors)  # what an error reply may begin with
        self.loses = loses  # a node may have lost its data: a key may be gone

    def pardons(self, reply):
        return isinstance(reply, Error) and reply.startswith(self.errors) if self.errors else False


NO_FAULTS = Rules()
# What a client may be told while nodes fall silent, die and come back.
FAULTS = ("CLUSTERDOWN", "TRYAGAIN", "UNKNOWN", "LOADING", "EXECABORT")


def unsure(reply):
    """The error does not say that nothing was done."""
    return not reply.startswith(("CLUSTERDOWN", "TRYAGAIN", "LOADING", "EXECABORT"))


class Talker:
    """One client with its model. `total` requests in all, up to `depth` without an answer."""

    def __init__(self, number, port, total, seed, depth=200, rules=NO_FAULTS, keys=30, big=0.02, key_filter=None):
        self.name = f"t{number}"
        self.rng = random.Random(f"{seed} {number}")
        self.rules = rules
        self.left = total
        self.depth = depth
        self.big = big
        self.waiting = collections.deque()
        self.replies = Replies()
        self.out = bytearray()
        self.serial = 0
        self.model = {}
        self.errors = collections.Counter()
        self.answered = 0
        self.lazy_until = 0.0
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5 * PATIENCE)
        self.sock.setblocking(False)
        names = (f"{self.name}:{i}" for i in range(100000))
        self.keys = []
        while len(self.keys) < keys:
            key = next(names)
            if key_filter is None or key_filter(key):
                self.keys.append(key)
        self.counter = self.keys.pop()
        self.model[self.counter] = None
        tag = self.keys[0]
        self.group = [f"{{{tag}}}{i}" for i in range(4)]
        for key in self.keys + self.group:
            self.model[key] = None

    # --- what is asked ---

    def unique(self):
        self.serial += 1
        text = f"{self.name}/{self.serial}"
        if self.rng.random() < self.big:
            text += "." * self.rng.choice([100, 4000, 5000, 20000, 70000])
        return text.encode()

    def ask(self, check, *args):
        self.out += encode(*args)
        self.waiting.append((check, args[:2]))
        self.left -= 1

    def fail(self, reply, args, wanted):
        shown = repr(reply)[:200]
        raise Mismatch(f"{self.name}: {args!r} answered {shown}, wanted {repr(wanted)[:200]}")

    def exact(self, wanted):
        """A reply that nothing can change."""

        def check(reply, args):
            if reply != wanted:
                self.fail(reply, args, wanted)

        return check

    def pardoned(self, reply, keys=()):
        """An error that may be: counts it; what it leaves unknown is forgotten."""
        if not self.rules.pardons(reply):
            return False
        self.errors[reply.split(" ")[0]] += 1
        if unsure(reply):
            for key in keys:
                self.model[key] = ANY
        return True

    def same(self, key, value):
        """Whether the key may hold that."""
        held = self.model[key]
        if held is ANY or held == value:
            return True
        if value is None and self.rules.loses:
            self.model[key] = None
            return True
        return False

    def set(self, key):
        value = self.unique()

        def check(reply, args):
            if reply == b"OK":
                if self.model[key] is not ANY:
                    self.model[key] = value
            elif not self.pardoned(reply, [key]):
                self.fail(reply, args, b"OK")

        self.ask(check, "SET", key, value)

    def get(self, key):
        def check(reply, args):
            if not self.pardoned(reply) and not self.same(key, reply):
                self.fail(reply, args, self.model[key])

        self.ask(check, "GET", key)

    def delete(self, keys):
        def check(reply, args):
            if self.pardoned(reply, keys):
                if len(keys) > 1:  # some of it may have been done
                    for key in keys:
                        self.model[key] = ANY
                return
            held = [self.model[key] for key in keys]
            most = sum(value is not None for value in held)
            least = 0 if self.rules.loses else sum(value is not None and value is not ANY for value in held)
            if not isinstance(reply, int) or not least <= reply <= most:
                self.fail(reply, args, (least, most))
            for key in keys:
                if self.model[key] is not ANY:
                    self.model[key] = None

        self.ask(check, self.rng.choice(["DEL", "UNLINK"]), *keys)

    def mset(self, keys):
        values = {key: self.unique() for key in keys}

        def check(reply, args):
            if reply == b"OK":
                for key in keys:
                    if self.model[key] is not ANY:
                        self.model[key] = values[key]
            elif self.pardoned(reply, keys):
                for key in keys:
                    self.model[key] = ANY
            else:
                self.fail(reply, args, b"OK")

        flat = [word for pair in values.items() for word in pair]
        self.ask(check, "MSET", *flat)

    def mget(self, keys):
        def check(reply, args):
            if self.pardoned(reply):
                return
            if not isinstance(reply, list) or len(reply) != len(keys):
                self.fail(reply, args, keys)
            for key, value in zip(keys, reply):
                if not self.same(key, value):
                    self.fail(value, (args, key), self.model[key])

        self.ask(check, "MGET", *keys)

    def incr(self):
        key = self.counter

        def check(reply, args):
            if self.pardoned(reply, [key]):
                return
            held = self.model[key]
            good = isinstance(reply, int) and (
                held is ANY or reply == (held or 0) + 1 or (self.rules.loses and reply == 1)
            )
            if not good:
                self.fail(reply, args, held)
            if held is not ANY:
                self.model[key] = reply

        self.ask(check, "INCR", key)

    def transaction(self):
        """SETs and GETs of one shard as one step."""
        steps = [(self.rng.choice(self.group), self.rng.random() < 0.5) for _ in range(self.rng.randrange(1, 6))]
        values = [self.unique() if writes else None for _, writes in steps]
        keys = [key for key, _ in steps]
        self.ask(self.exact(b"OK"), "MULTI")
        for (key, writes), value in zip(steps, values):
            self.ask(self.exact(b"QUEUED"), *(("SET", key, value) if writes else ("GET", key)))
        if self.rng.random() < 0.1:
            self.ask(self.exact(b"OK"), "DISCARD")
            return

        def check(reply, args):
            if self.pardoned(reply, keys):
                return
            if not isinstance(reply, list) or len(reply) != len(steps):
                self.fail(reply, args, steps)
            for (key, writes), value, answer in zip(steps, values, reply):
                if not writes:
                    if not self.same(key, answer):
                        self.fail(answer, (args, key), self.model[key])
                elif answer != b"OK":
                    self.fail(answer, (args, key), b"OK")
                elif self.model[key] is not ANY:
                    self.model[key] = value

        self.ask(check, "EXEC")

    def silence(self):
        """One request that is answered by nothing."""
        key = self.rng.choice(self.keys)
        self.out += encode("CLIENT", "REPLY", "SKIP")
        if self.rules is NO_FAULTS and self.rng.random() < 0.5:
            value = self.unique()
            self.out += encode("SET", key, value)
            self.get_after(key, value)
        else:
            self.out += encode("GET", key)

    def get_after(self, key, value):
        def check(reply, args):
            self.model[key] = value
            if reply != value:
                self.fail(reply, args, value)

        self.ask(check, "GET", key)

    def small_talk(self):
        word = self.unique()[:60]
        kind = self.rng.randrange(5)
        if kind == 0:
            self.ask(self.exact(word), "ECHO", word)
        elif kind == 1:
            self.ask(self.exact(word), "PING", word)
        elif kind == 2:
            text = word.decode()
            self.ask(
                self.exact(Error(f"ERR unknown command '{text}', with args beginning with: ")),
                text,
            )
        elif kind == 3:
            self.ask(self.exact(Error("ERR wrong number of arguments for 'get' command")), "GET")
        else:
            self.out += f"ECHO {word.decode()}\r\n".encode()
            self.waiting.append((self.exact(word), ("inline", word)))

    def hello(self):
        def check(reply, args):
            if not isinstance(reply, list) or b"server" not in reply:
                self.fail(reply, args, "a greeting")

        self.ask(check, "HELLO", self.rng.choice("23"))

    def database(self):
        """A value of another database is never seen from this one."""
        key = self.rng.choice(self.keys)
        db = self.rng.randrange(1, 16)
        self.ask(self.exact(b"OK"), "SELECT", db)

        def check(reply, args):
            if reply is not None and not self.pardoned(reply):
                self.fail(reply, args, None)

        self.ask(check, "GET", key)
        self.ask(self.exact(b"OK"), "SELECT", 0)

    def some_keys(self):
        return self.rng.sample(self.keys, self.rng.randrange(2, min(12, len(self.keys))))

    def speak(self):
        """Queues one more request, or a few that belong together."""
        dice = self.rng.random()
        if dice < 0.28:
            self.set(self.rng.choice(self.keys))
        elif dice < 0.64:
            self.get(self.rng.choice(self.keys))
        elif dice < 0.72:
            self.small_talk()
        elif dice < 0.77:
            self.mset(self.some_keys())
        elif dice < 0.83:
            self.mget(self.some_keys())
        elif dice < 0.86:
            self.delete(self.some_keys()[: self.rng.randrange(1, 4)])
        elif dice < 0.92:
            self.incr()
        elif dice < 0.96:
            self.transaction()
        elif dice < 0.975:
            self.silence()
        elif dice < 0.99:
            self.database()
        else:
            self.hello()

    # --- moving ---

    def done(self):
        return self.left <= 0 and not self.waiting and not self.out

    def fill(self):
        if len(self.waiting) < self.depth // 2 or not self.waiting:
            burst = self.rng.randrange(1, self.depth + 1)
            while self.left > 0 and len(self.waiting) < self.depth and burst > 0:
                self.speak()
                burst -= 1

    def write(self):
        size = len(self.out)
        if self.rng.random() < 0.3:
            size = min(size, self.rng.choice([1, 2, 3, 7, 50, 500, 5000]))
        if size > 0:
            try:
                sent = self.sock.send(self.out[:size])
            except BlockingIOError:
                return
            del self.out[:sent]

    def read(self, now):
        if now < self.lazy_until:
            return
        try:
            data = self.sock.recv(self.rng.choice([1, 10, 1000, 1 << 20]) if self.rng.random() < 0.2 else 1 << 20)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            raise Mismatch(f"{self.name}: closed with {len(self.waiting)} replies to come, first {list(self.waiting)[:1]}")
        if self.rng.random() < 0.005:
            self.lazy_until = now + self.rng.random() * 0.3
        self.replies.feed(data)
        try:
            while True:
                reply = self.replies.next()
                if not self.waiting:
                    raise Mismatch(f"{self.name}: a reply to nothing: {reply!r}")
                check, args = self.waiting.popleft()
                check(reply, args)
                self.answered += 1
        except Incomplete:
            pass

    def close(self):
        self.sock.close()


class Vanisher:
    """Sends the beginning of a pipeline and goes: with a reset, an end, or half closed."""

    def __init__(self, number, port, seed):
        self.rng = random.Random(f"{seed} {number} vanisher")
        self.port = port
        self.number = number

    def once(self):
        rng = self.rng
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=5 * PATIENCE)
        sock.setblocking(False)
        key = f"v{self.number}:{rng.randrange(100)}"
        keys = [f"v{self.number}:{rng.randrange(100)}" for _ in range(10)]
        pieces = [
            encode("SET", key, "x" * rng.choice([1, 100, 5000, 50000])),
            encode("GET", key),
            encode("MGET", *keys),
            encode("MULTI"),
            encode("WATCH", key),
            encode("INCR", key + "n"),
            encode("EXEC"),
            encode("MSET", *[word for one in keys for word in (one, "y" * 50)]),
            encode("DBSIZE"),
            encode("SCAN", "0", "COUNT", "100"),
            encode("RANDOMKEY"),
            encode("CLIENT", "LIST"),
            encode("CONFIG", "GET", "maxmemory"),
            encode("HELLO", "3"),
            encode("QUIT") if rng.random() < 0.1 else b"",
        ]
        data = b"".join(rng.choice(pieces) for _ in range(rng.randrange(1, 400)))
        try:
            sock.send(data[: rng.randrange(1, len(data) + 2)])
            if rng.random() < 0.3:
                sock.recv(rng.randrange(1, 2000))
        except (BlockingIOError, ConnectionError):
            pass
        how = rng.randrange(3)
        if how == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == 1:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        sock.close()


def talk(talkers, limit, vanishers=(), between=None):
    """Lets them talk until all have had all their answers. between(answered) is called now and
    then with the number of replies so far; the test's faults come from there. Vanishers come as
    fast as the talkers get on: their commands must not pile up where all of it is slow."""
    selector = selectors.DefaultSelector()
    for talker in talkers:
        selector.register(talker.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, talker)
    open_ones = set(talkers)
    deadline = time.monotonic() + limit * PATIENCE
    turn = 0
    vanished_at = 0
    while open_ones:
        now = time.monotonic()
        if now > deadline:
            late = [(one.name, len(one.waiting), list(one.waiting)[:1]) for one in open_ones]
            raise Mismatch(f"no answer within {limit * PATIENCE} s: {late}")
        for key, events in selector.select(0.01):
            talker = key.data
            if events & selectors.EVENT_READ:
                talker.read(now)
            talker.fill()
            if events & selectors.EVENT_WRITE and talker.out:
                talker.write()
        for talker in list(open_ones):
            if talker.done():
                open_ones.discard(talker)
                selector.unregister(talker.sock)
            else:
                wanted = (selectors.EVENT_READ if now >= talker.lazy_until else 0) | (
                    selectors.EVENT_WRITE if talker.out or not talker.waiting else 0
                )
                talker.fill()
                selector.modify(talker.sock, wanted or selectors.EVENT_WRITE, talker)
        turn += 1
        answered = sum(one.answered for one in talkers)
        if turn % 5 == 0 and answered - vanished_at >= len(open_ones):
            vanished_at = answered
            for vanisher in vanishers:
                vanisher.once()
        if between is not None:
            between(answered)
    selector.close()
