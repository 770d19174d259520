"""A cluster of separately started processes, and how the proxy describes it."""
import collections
import re

from .process import free_port
from .programs import Node, Proxy
from .wait import wait_until
from .wire import Error


def words(line):
    """"a=1 b=x" as a dictionary."""
    return dict(re.findall(r'([\w-]+)=("[^"]*"|\S*)', line))


def lines(reply):
    """An admin command's reply, an array of lines or one text, as a list of str."""
    if isinstance(reply, (list, tuple)):
        return [line.decode() if isinstance(line, bytes) else str(line) for line in reply]
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    return text.splitlines()


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
            crc &= 0xFFFF
    return crc


def slot_of(key):
    tag = re.match(r"[^{]*\{([^}]+)\}", key)
    return crc16((tag.group(1) if tag else key).encode()) % 16384


class View:
    """What PROXY NODES and PROXY SHARDS say, asked of any server that answers them."""

    def __init__(self, server):
        self.server = server

    def ask(self, *command):
        with self.server.wire(limit=5) as wire:
            return lines(wire.command(*command))

    def nodes(self):
        """By port: {state, heartbeat-ms, primary, replica, keys, ...}, numbers as text."""
        rows = [words(line) for line in self.ask("PROXY", "NODES")]
        return {int(row["addr"].rsplit(":", 1)[1]): row for row in rows}

    def shards(self):
        return [words(line) for line in self.ask("PROXY", "SHARDS")]

    def primary_counts(self):
        """Shards by primary's node id; shards without one under None."""
        counts = collections.Counter()
        for shard in self.shards():
            counts[None if shard["primary"] == "-" else shard["primary"]] += 1
        return counts

    def served(self):
        """True when every shard has a primary."""
        shards = self.shards()
        return bool(shards) and all(shard["primary"] != "-" for shard in shards)

    def info(self):
        text = self.ask("CLUSTER", "INFO")
        return dict(line.split(":", 1) for line in text if ":" in line)


class Cluster:
    """One proxy and nodes with names, each a process of its own. The proxy's coordinator is quick
    unless a test says otherwise."""

    def __init__(self, **options):
        self.control_port = free_port()
        settings = {
            "control_port": self.control_port,
            "heartbeat_interval": "200ms",
            "assignment_delay": "300ms",
        }
        settings.update(options)
        self.settings = settings
        self.proxy = Proxy(**settings).ready()
        self.view = View(self.proxy)
        self.nodes = {}

    def start_node(self, name, **options):
        """Starts a node, or starts it again with its old folder and port."""
        if name in self.nodes:
            self.nodes[name].start()
        else:
            coordinator = f"127.0.0.1:{self.control_port}"
            self.nodes[name] = Node(coordinator=coordinator, name=f"node-{name}", **options)
        return self.nodes[name]

    def row(self, name):
        """The node's line in PROXY NODES; {} while it has none."""
        return self.view.nodes().get(self.nodes[name].port, {})

    def state(self, name):
        return self.row(name).get("state")

    def answers(self):
        """The proxy's workers have the map, too: they get it a moment after the nodes, each by itself,
        and which of them a connection comes to is chance."""
        for _ in range(8):
            with self.proxy.wire(limit=30) as wire:
                reply = wire.command("GET", "no such key")
            if isinstance(reply, Error) and reply.startswith("CLUSTERDOWN"):
                return False
        return True

    def wait_served(self, limit=15):
        wait_until(self.view.served, limit, "every shard to have a primary")
        wait_until(self.answers, limit, "the proxy to answer")

    def wait_even(self, limit=20):
        """Shards differ by at most one from node to node, nothing is moving."""

        def even():
            counts = self.view.primary_counts()
            if None in counts or len(counts) != len(self.nodes):
                return None
            return max(counts.values()) - min(counts.values()) <= 1 and counts

        counts = wait_until(even, limit, f"shards to be even over {len(self.nodes)} nodes")
        wait_until(self.answers, limit, "the proxy to answer")
        return counts

    def wait_whole(self, limit=40):
        """Every shard has a second copy in sync: one node may be killed."""

        def whole():
            rows = self.view.shards()
            return bool(rows) and all(row["primary"] != "-" and ":active" in row["replicas"] for row in rows)

        wait_until(whole, limit, "every shard to have its copies in sync")

    def keys_of(self, name, count, prefix="key"):
        """Names of keys whose primary is the node."""
        mine = self.row(name)["id"]

        def held():
            slots = [shard["slots"] for shard in self.view.shards() if shard["primary"] == mine]
            return [tuple(int(slot) for slot in pair.split("-")) for pair in slots]

        ranges = wait_until(held, 20, f"node {name} to be primary of something")
        found, number = [], 0
        while len(found) < count:
            key = f"{prefix}:{number}"
            slot = slot_of(key)
            if any(first <= slot <= last for first, last in ranges):
                found.append(key)
            number += 1
        return found
