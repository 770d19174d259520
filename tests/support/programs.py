"""The programs that tests start: ours, and Redis's own to compare with."""
import os
import shlex
import subprocess

import redis

from .process import Process, free_port, temp_dir
from .wait import PATIENCE, Hopeless, wait_until
from .wire import Wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def bin_path(name):
    """One of our programs: in SHOAL_BIN, or where `make` puts it."""
    return os.path.join(os.path.abspath(os.environ.get("SHOAL_BIN", f"{ROOT}/build")), name)


def directives(given):
    """Keyword arguments as options: min_nodes=3 is --min-nodes 3."""
    words = []
    for name, value in given.items():
        words.append("--" + name.replace("_", "-"))
        words.extend(str(value).split(" ") if name in ("save",) and value else [str(value)])
    return words


def stand_in(variable, port, directory):
    """Another server to run a test against, from the environment: SHOAL_NODE='redis-server --port
    {port} --dir {dir}' shows whether a test asks for what Redis does. None without one."""
    template = os.environ.get(variable)
    return template and [word.format(port=port, dir=directory) for word in shlex.split(template)]


class Server(Process):
    """A process that speaks Redis's protocol on self.port."""

    def __init__(self, argv, port, serves_slots=False, **more):
        self.port = port
        self.serves_slots = serves_slots  # ready only when every slot is served
        self.host = "127.0.0.1"
        self._client = None
        super().__init__(argv, **more)

    def answers(self):
        """True when it answers a PING."""
        if not self.alive():
            raise Hopeless(
                f"{self.name} ended with {self.exit_code}:\n{self.output(last_lines=30)}"
            )
        with Wire(self.port, limit=2) as wire:
            if wire.command("PING") != b"PONG":
                return False
            return not self.serves_slots or b"cluster_slots_ok:16384" in wire.command("CLUSTER", "INFO")

    def ready(self, limit=15.0):
        """Waits until it answers; returns itself."""
        wait_until(self.answers, limit, f"{self.name} on port {self.port} to answer PING")
        return self

    def client(self, **options):
        """A new redis-py client with short time-outs and text replies."""
        settings = {
            "decode_responses": True,
            "socket_timeout": 10 * PATIENCE,
            "socket_connect_timeout": 5 * PATIENCE,
        }
        settings.update(options)
        return redis.Redis(host=self.host, port=self.port, **settings)

    @property
    def r(self):
        """A client that lives as long as this object."""
        if self._client is None:
            self._client = self.client()
        return self._client

    def wire(self, limit=10.0):
        return Wire(self.port, limit=limit)

    def cli(self, *args, stdin=None, limit=30.0):
        """Runs redis-cli against it: (exit code, output)."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *[str(arg) for arg in args]],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit * PATIENCE,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def info(self, section="everything"):
        """INFO as a flat dictionary of strings."""
        with self.wire() as wire:
            text = wire.command("INFO", section).decode()
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        return dict(pairs)


class RedisServer(Server):
    """Redis's own server, as a peer to compare with."""

    def __init__(self, **options):
        port = options.pop("port", None) or free_port()
        directory = temp_dir("redis-server")
        argv = ["redis-server", "--port", port, "--dir", directory, "--save", ""]
        super().__init__(argv + directives(options), port, name="redis-server", directory=directory)


class Node(Server):
    """One shoal-node. Without a coordinator it stands alone and holds every slot."""

    def __init__(self, coordinator=None, name="node", directory=None, **options):
        port = options.pop("port", None) or free_port()
        directory = directory or temp_dir("shoal-" + name)
        argv = stand_in("SHOAL_NODE", port, directory)
        if not argv:
            argv = [bin_path("shoal-node"), "--port", port, "--dir", directory]
            argv += ["--coordinator", coordinator] if coordinator else ["--stand-alone", "yes"]
        super().__init__(argv + directives(options), port, name=name, directory=directory)


class Proxy(Server):
    """One shoal-proxy; with local_nodes=N a whole cluster."""

    def __init__(self, name="proxy", directory=None, **options):
        port = options.pop("port", None) or free_port()
        directory = directory or temp_dir("shoal-" + name)
        argv = stand_in("SHOAL_PROXY", port, directory)
        whole = not argv and "local_nodes" in options
        if argv:
            options.pop("local_nodes", None)
        else:
            argv = [bin_path("shoal-proxy"), "--port", port, "--dir", directory]
            if whole and PATIENCE > 1:  # a sanitizer looks through all memory as a process ends
                options.setdefault("local_nodes_stop_timeout", f"{1500 * PATIENCE:.0f}")
        argv += directives(options)
        super().__init__(argv, port, serves_slots=whole, name=name, directory=directory)
