"""Random commands, sent to a node and to Redis's own server: every reply must be the same, what is in
the keys afterwards, and what either dumps the other restores.

DIFFERENTIAL_SEED repeats a run, DIFFERENTIAL_ROUNDS makes it longer."""
import os
import random

from .programs import Node, RedisServer
from .wire import Error, encode

SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))


def rounds(usual):
    return int(os.environ.get("DIFFERENTIAL_ROUNDS", usual))


class Talk:
    """Makes up commands: `makers` has pairs of a weight and a function that gives one. Few keys, so
    that they meet; arguments that are often wrong."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.makers = []

    def pick(self, *choices):
        return self.rng.choice(choices)

    def integer(self, lowest=-(2**63)):
        """Redis saturates the very lowest one to the wrong side in BITFIELD SET."""
        return self.pick(
            0, 1, -1, 2, 5, 7, 10, 100, -5, -100, 2**31, 2**63 - 1, lowest, 2**63, self.rng.randrange(-50, 50),
            "1.5", "abc", "", " 1", "1 ", "+1", "01", "-0", "0x10", 1e3,
        ) if self.rng.random() < 0.4 else self.rng.randrange(-20, 40)

    def value(self):
        kind = self.rng.random()
        if kind < 0.25:
            return self.integer()
        if kind < 0.35:
            return self.pick("3.14", "1e5", "-0.5", "nan", "inf", "1.0", "5e-3", "0.1")
        if kind < 0.9:
            return bytes(self.rng.choices(b"abcdefgh\x00\xff\x80\x01", k=self.rng.randrange(0, 70)))
        return bytes([self.rng.randrange(256)]) * self.pick(43, 44, 45, 200, 300, 2047, 2048, 2100, 5000, 70000)

    def some(self, make, most=3):
        return [make() for _ in range(self.rng.randrange(1, most + 1))]

    def options(self, *groups):
        """Some of the groups, in any order."""
        chosen = [g for g in groups if self.rng.random() < 0.35]
        self.rng.shuffle(chosen)
        return [word for group in chosen for word in group]

    def command(self):
        weights = [weight for weight, _ in self.makers]
        return self.rng.choices(self.makers, weights)[0][1]()


def start_pair(ours=None, theirs=None):
    """For a fixture of a whole file: yields a node and a Redis, started with these options."""
    servers = Node(**(ours or {})).ready(), RedisServer(**(theirs or {})).ready()
    for server in servers:
        server.lasting = True
    yield servers
    for server in servers:
        server.stop()


def same_errors(ours, theirs):
    """None: neither is one."""
    if isinstance(ours, Error) or isinstance(theirs, Error):
        return isinstance(ours, Error) and isinstance(theirs, Error) and str(ours) == str(theirs)
    return None


def told(history):
    return "\n".join(f"  {str(c)[:300]} -> {str(r)[:200]!r}" for c, r in history[-40:])


def converse(wires, talk, count, history, same):
    """Sends both the same commands in one go. same(command, ours, theirs) compares replies."""
    commands = [talk.command() for _ in range(count)]
    data = b"".join(encode(*command) for command in commands)
    for wire in wires:
        wire.send(data)
    for command in commands:
        ours, theirs = [wire.reply() for wire in wires]
        history.append((command, ours))
        assert same(command, ours, theirs), (
            f"{command!r} answers\n  {ours!r}\nnot\n  {theirs!r}\nafter\n{told(history)}"
        )


def compare_keys(wires, value, kept):
    """value(wire, key) tells what is in a key, kept(value) what of that survives DUMP and RESTORE:
    each restores what the other dumped."""
    ours, theirs = wires
    assert sorted(ours.command("KEYS", "*")) == sorted(theirs.command("KEYS", "*"))
    for key in ours.command("KEYS", "*"):
        want = value(theirs, key)
        assert value(ours, key) == want, key
        for source, target in ((ours, theirs), (theirs, ours)):
            reply = target.command("RESTORE", "copy", 0, source.command("DUMP", key))
            assert not isinstance(reply, Error), (key, want, reply)
            assert kept(value(target, "copy")) == kept(want)
            target.command("DEL", "copy")


def talk_to_both(pair, proto, talker, number, before, each, after=None):
    """Rounds of commands that talker(seed) makes up. before(wire, round) and after(wire) are called
    for both connections, each(wires, talk, history) does the talking."""
    for round_ in range(number):
        seed = SEED * 1000 + round_ * 10 + proto
        talk = talker(seed)
        print(f"seed {seed}")
        wires = [server.wire() for server in pair]
        try:
            for wire in wires:
                wire.command("HELLO", proto)
                wire.command("FLUSHALL")
                before(wire, round_)
            each(wires, talk, [])
        finally:
            for wire in wires:
                if after is not None:
                    after(wire)
                wire.close()
