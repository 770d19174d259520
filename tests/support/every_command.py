"""A call of every command and subcommand that does something, so that a server which serves the
command answers it without an error.

docs/COMPATIBILITY.md is made by these (redis-compat/compatibility), and test_28_every_command.py sees to it that
redis-server serves each of them, that the page says what node and proxy answer, and that no command
is without one."""
import collections
import hashlib
import re

from .cluster import Cluster
from .programs import Node
from .wire import Error, encode

Call = collections.namedtuple("Call", "words before error")

def _calls(text):
    """`name: [command; command; ...] call [-> the error that says it was understood]` a line."""
    calls = {}
    for line in text.strip().splitlines():
        line = line.strip()
        if not line:
            continue
        name, _, rest = line.partition(": ")
        rest, _, error = rest.partition(" -> ")
        *before, call = [part.split() for part in rest.split("; ")]
        assert name not in calls, name
        calls[name] = Call(call, before, error or None)
    return calls


# {k} begins the keys of a call, which are all in one slot; {dump} is what DUMP gives of a string, {script} a script
# and {sha} its name, {lib} a library, {libs} what FUNCTION DUMP gives of it.
CALLS = _calls(
    """
    append: APPEND {k} b
    bitcount: BITCOUNT {k}
    bitfield: BITFIELD {k} SET u8 0 1
    bitfield_ro: BITFIELD_RO {k} GET u8 0
    bitop: SET {k} a; BITOP NOT {k}2 {k}
    bitpos: BITPOS {k} 1
    decr: DECR {k}
    decrby: DECRBY {k} 2
    get: GET {k}
    getbit: GETBIT {k} 0
    getdel: SET {k} v; GETDEL {k}
    getex: GETEX {k} PERSIST
    getrange: GETRANGE {k} 0 1
    getset: GETSET {k} v
    incr: INCR {k}
    incrby: INCRBY {k} 2
    incrbyfloat: INCRBYFLOAT {k} 1.5
    lcs: LCS {k} {k}2
    mget: MGET {k} {k}2
    mset: MSET {k} 1 {k}2 2
    msetnx: MSETNX {k} 1 {k}2 2
    psetex: PSETEX {k} 10000 v
    set: SET {k} v
    setbit: SETBIT {k} 7 1
    setex: SETEX {k} 10 v
    setnx: SETNX {k} v
    setrange: SETRANGE {k} 1 v
    strlen: STRLEN {k}
    substr: SUBSTR {k} 0 1

    copy: SET {k} v; COPY {k} {k}2
    del: DEL {k}
    dump: DUMP {k}
    exists: EXISTS {k}
    expire: EXPIRE {k} 10
    expireat: EXPIREAT {k} 4000000000
    expiretime: EXPIRETIME {k}
    keys: KEYS none*
    migrate: MIGRATE 127.0.0.1 1 {k} 0 1000
    move: MOVE {k} 1
    object|encoding: OBJECT ENCODING {k}
    object|freq: SET {k} v; OBJECT FREQ {k} -> LFU maxmemory policy is not selected
    object|help: OBJECT HELP
    object|idletime: OBJECT IDLETIME {k}
    object|refcount: OBJECT REFCOUNT {k}
    persist: PERSIST {k}
    pexpire: PEXPIRE {k} 10000
    pexpireat: PEXPIREAT {k} 4000000000000
    pexpiretime: PEXPIRETIME {k}
    pttl: PTTL {k}
    randomkey: RANDOMKEY
    rename: SET {k} v; RENAME {k} {k}2
    renamenx: SET {k} v; RENAMENX {k} {k}2
    restore: RESTORE {k} 0 {dump}
    restore-asking: RESTORE-ASKING {k} 0 {dump}
    scan: SCAN 0
    sort: SORT {k}
    sort_ro: SORT_RO {k}
    touch: TOUCH {k}
    ttl: TTL {k}
    type: TYPE {k}
    unlink: UNLINK {k}
    wait: WAIT 0 1

    blmove: RPUSH {k} a; BLMOVE {k} {k}2 LEFT RIGHT 1
    blmpop: RPUSH {k} a; BLMPOP 1 1 {k} LEFT
    blpop: RPUSH {k} a; BLPOP {k} 1
    brpop: RPUSH {k} a; BRPOP {k} 1
    brpoplpush: RPUSH {k} a; BRPOPLPUSH {k} {k}2 1
    lindex: LINDEX {k} 0
    linsert: LINSERT {k} BEFORE a b
    llen: LLEN {k}
    lmove: LMOVE {k} {k}2 LEFT RIGHT
    lmpop: LMPOP 1 {k} LEFT
    lpop: LPOP {k}
    lpos: LPOS {k} a
    lpush: LPUSH {k} a
    lpushx: LPUSHX {k} a
    lrange: LRANGE {k} 0 -1
    lrem: LREM {k} 0 a
    lset: RPUSH {k} a; LSET {k} 0 b
    ltrim: LTRIM {k} 0 1
    rpop: RPOP {k}
    rpoplpush: RPOPLPUSH {k} {k}2
    rpush: RPUSH {k} a
    rpushx: RPUSHX {k} a

    hdel: HDEL {k} f
    hexists: HEXISTS {k} f
    hget: HGET {k} f
    hgetall: HGETALL {k}
    hincrby: HINCRBY {k} f 1
    hincrbyfloat: HINCRBYFLOAT {k} f 1.5
    hkeys: HKEYS {k}
    hlen: HLEN {k}
    hmget: HMGET {k} f g
    hmset: HMSET {k} f 1
    hrandfield: HRANDFIELD {k}
    hscan: HSCAN {k} 0
    hset: HSET {k} f 1
    hsetnx: HSETNX {k} f 1
    hstrlen: HSTRLEN {k} f
    hvals: HVALS {k}

    sadd: SADD {k} a
    scard: SCARD {k}
    sdiff: SDIFF {k} {k}2
    sdiffstore: SDIFFSTORE {k} {k}2 {k}3
    sinter: SINTER {k} {k}2
    sintercard: SINTERCARD 2 {k} {k}2
    sinterstore: SINTERSTORE {k} {k}2 {k}3
    sismember: SISMEMBER {k} a
    smembers: SMEMBERS {k}
    smismember: SMISMEMBER {k} a b
    smove: SMOVE {k} {k}2 a
    spop: SPOP {k}
    srandmember: SRANDMEMBER {k}
    srem: SREM {k} a
    sscan: SSCAN {k} 0
    sunion: SUNION {k} {k}2
    sunionstore: SUNIONSTORE {k} {k}2 {k}3

    bzmpop: ZADD {k} 1 a; BZMPOP 1 1 {k} MIN
    bzpopmax: ZADD {k} 1 a; BZPOPMAX {k} 1
    bzpopmin: ZADD {k} 1 a; BZPOPMIN {k} 1
    zadd: ZADD {k} 1 a
    zcard: ZCARD {k}
    zcount: ZCOUNT {k} 0 1
    zdiff: ZDIFF 2 {k} {k}2
    zdiffstore: ZDIFFSTORE {k} 1 {k}2
    zincrby: ZINCRBY {k} 1 a
    zinter: ZINTER 2 {k} {k}2
    zintercard: ZINTERCARD 2 {k} {k}2
    zinterstore: ZINTERSTORE {k} 1 {k}2
    zlexcount: ZLEXCOUNT {k} - +
    zmpop: ZMPOP 1 {k} MIN
    zmscore: ZMSCORE {k} a
    zpopmax: ZPOPMAX {k}
    zpopmin: ZPOPMIN {k}
    zrandmember: ZRANDMEMBER {k}
    zrange: ZRANGE {k} 0 -1
    zrangebylex: ZRANGEBYLEX {k} - +
    zrangebyscore: ZRANGEBYSCORE {k} 0 1
    zrangestore: ZRANGESTORE {k} {k}2 0 -1
    zrank: ZRANK {k} a
    zrem: ZREM {k} a
    zremrangebylex: ZREMRANGEBYLEX {k} - +
    zremrangebyrank: ZREMRANGEBYRANK {k} 0 1
    zremrangebyscore: ZREMRANGEBYSCORE {k} 0 1
    zrevrange: ZREVRANGE {k} 0 -1
    zrevrangebylex: ZREVRANGEBYLEX {k} + -
    zrevrangebyscore: ZREVRANGEBYSCORE {k} 1 0
    zrevrank: ZREVRANK {k} a
    zscan: ZSCAN {k} 0
    zscore: ZSCORE {k} a
    zunion: ZUNION 2 {k} {k}2
    zunionstore: ZUNIONSTORE {k} 1 {k}2

    geoadd: GEOADD {k} 13.3 38.1 a
    geodist: GEODIST {k} a b
    geohash: GEOHASH {k} a
    geopos: GEOPOS {k} a
    georadius: GEORADIUS {k} 15 37 200 km
    georadius_ro: GEORADIUS_RO {k} 15 37 200 km
    georadiusbymember: GEOADD {k} 13.3 38.1 a; GEORADIUSBYMEMBER {k} a 1 km
    georadiusbymember_ro: GEOADD {k} 13.3 38.1 a; GEORADIUSBYMEMBER_RO {k} a 1 km
    geosearch: GEOSEARCH {k} FROMLONLAT 15 37 BYRADIUS 200 km
    geosearchstore: GEOSEARCHSTORE {k}2 {k} FROMLONLAT 15 37 BYRADIUS 200 km

    pfadd: PFADD {k} a
    pfcount: PFCOUNT {k} {k}2
    pfdebug: PFADD {k} a; PFDEBUG ENCODING {k}
    pfmerge: PFMERGE {k} {k}2
    pfselftest: PFSELFTEST

    xack: XACK {k} g 1-1
    xadd: XADD {k} * f v
    xautoclaim: XGROUP CREATE {k} g $ MKSTREAM; XAUTOCLAIM {k} g c 0 0
    xclaim: XGROUP CREATE {k} g $ MKSTREAM; XCLAIM {k} g c 0 1-1
    xdel: XDEL {k} 1-1
    xgroup|create: XGROUP CREATE {k} g $ MKSTREAM
    xgroup|createconsumer: XGROUP CREATE {k} g $ MKSTREAM; XGROUP CREATECONSUMER {k} g c
    xgroup|delconsumer: XGROUP CREATE {k} g $ MKSTREAM; XGROUP DELCONSUMER {k} g c
    xgroup|destroy: XGROUP CREATE {k} g $ MKSTREAM; XGROUP DESTROY {k} g
    xgroup|help: XGROUP HELP
    xgroup|setid: XGROUP CREATE {k} g $ MKSTREAM; XGROUP SETID {k} g 0
    xinfo|consumers: XGROUP CREATE {k} g $ MKSTREAM; XINFO CONSUMERS {k} g
    xinfo|groups: XGROUP CREATE {k} g $ MKSTREAM; XINFO GROUPS {k}
    xinfo|help: XINFO HELP
    xinfo|stream: XADD {k} * f v; XINFO STREAM {k}
    xlen: XLEN {k}
    xpending: XGROUP CREATE {k} g $ MKSTREAM; XPENDING {k} g
    xrange: XRANGE {k} - +
    xread: XADD {k} * f v; XREAD STREAMS {k} 0
    xreadgroup: XGROUP CREATE {k} g $ MKSTREAM; XREADGROUP GROUP g c STREAMS {k} >
    xrevrange: XREVRANGE {k} + -
    xsetid: XADD {k} 1-1 f v; XSETID {k} 2-2
    xtrim: XTRIM {k} MAXLEN 1

    psubscribe: PSUBSCRIBE p*
    publish: PUBLISH c m
    pubsub|channels: PUBSUB CHANNELS
    pubsub|help: PUBSUB HELP
    pubsub|numpat: PUBSUB NUMPAT
    pubsub|numsub: PUBSUB NUMSUB c
    pubsub|shardchannels: PUBSUB SHARDCHANNELS
    pubsub|shardnumsub: PUBSUB SHARDNUMSUB c
    punsubscribe: PUNSUBSCRIBE p*
    spublish: SPUBLISH {k} m
    ssubscribe: SSUBSCRIBE {k}
    subscribe: SUBSCRIBE c
    sunsubscribe: SUNSUBSCRIBE {k}
    unsubscribe: UNSUBSCRIBE c

    discard: MULTI; DISCARD
    exec: MULTI; SET {k} v; EXEC
    multi: MULTI
    unwatch: UNWATCH
    watch: WATCH {k}

    eval: EVAL {script} 1 {k}
    eval_ro: EVAL_RO {script} 1 {k}
    evalsha: SCRIPT LOAD {script}; EVALSHA {sha} 1 {k}
    evalsha_ro: SCRIPT LOAD {script}; EVALSHA_RO {sha} 1 {k}
    fcall: FUNCTION LOAD REPLACE {lib}; FCALL f 1 {k}
    fcall_ro: FUNCTION LOAD REPLACE {lib}; FCALL_RO f 1 {k}
    function|delete: FUNCTION LOAD REPLACE {lib}; FUNCTION DELETE l
    function|dump: FUNCTION DUMP
    function|flush: FUNCTION FLUSH
    function|help: FUNCTION HELP
    function|kill: FUNCTION KILL -> NOTBUSY
    function|list: FUNCTION LIST
    function|load: FUNCTION LOAD REPLACE {lib}
    function|restore: FUNCTION LOAD REPLACE {lib}; FUNCTION RESTORE {libs} REPLACE
    function|stats: FUNCTION STATS
    script|debug: SCRIPT DEBUG NO
    script|exists: SCRIPT EXISTS {sha}
    script|flush: SCRIPT FLUSH
    script|help: SCRIPT HELP
    script|kill: SCRIPT KILL -> NOTBUSY
    script|load: SCRIPT LOAD {script}

    auth: ACL SETUSER u on >p +@all ~* &*; AUTH u p
    client|caching: HELLO 3; CLIENT TRACKING ON OPTIN; CLIENT CACHING YES
    client|getname: CLIENT GETNAME
    client|getredir: CLIENT GETREDIR
    client|help: CLIENT HELP
    client|id: CLIENT ID
    client|info: CLIENT INFO
    client|kill: CLIENT KILL TYPE replica
    client|list: CLIENT LIST
    client|no-evict: CLIENT NO-EVICT OFF
    client|pause: CLIENT PAUSE 1
    client|reply: CLIENT REPLY ON
    client|setname: CLIENT SETNAME x
    client|tracking: HELLO 3; CLIENT TRACKING ON
    client|trackinginfo: CLIENT TRACKINGINFO
    client|unblock: CLIENT UNBLOCK 0
    client|unpause: CLIENT UNPAUSE
    echo: ECHO x
    hello: HELLO 3
    ping: PING
    quit: QUIT
    reset: RESET
    select: SELECT 1

    acl|cat: ACL CAT
    acl|deluser: ACL DELUSER nobody
    acl|dryrun: ACL DRYRUN default GET {k}
    acl|genpass: ACL GENPASS
    acl|getuser: ACL GETUSER default
    acl|help: ACL HELP
    acl|list: ACL LIST
    acl|load: ACL LOAD -> not configured to use an ACL file
    acl|log: ACL LOG
    acl|save: ACL SAVE -> not configured to use an ACL file
    acl|setuser: ACL SETUSER u
    acl|users: ACL USERS
    acl|whoami: ACL WHOAMI
    bgrewriteaof: BGREWRITEAOF -> in progress
    bgsave: BGSAVE SCHEDULE
    command: COMMAND
    command|count: COMMAND COUNT
    command|docs: COMMAND DOCS get
    command|getkeys: COMMAND GETKEYS GET {k}
    command|getkeysandflags: COMMAND GETKEYSANDFLAGS GET {k}
    command|help: COMMAND HELP
    command|info: COMMAND INFO get
    command|list: COMMAND LIST
    config|get: CONFIG GET maxmemory
    config|help: CONFIG HELP
    config|resetstat: CONFIG RESETSTAT
    config|rewrite: CONFIG REWRITE -> running without a config file
    config|set: CONFIG SET maxmemory 0
    dbsize: DBSIZE
    debug: DEBUG SLEEP 0
    failover: FAILOVER -> requires connected replicas
    flushall: FLUSHALL
    flushdb: FLUSHDB
    info: INFO
    lastsave: LASTSAVE
    latency|doctor: LATENCY DOCTOR
    latency|graph: LATENCY GRAPH command -> No samples available
    latency|help: LATENCY HELP
    latency|histogram: LATENCY HISTOGRAM
    latency|history: LATENCY HISTORY command
    latency|latest: LATENCY LATEST
    latency|reset: LATENCY RESET
    lolwut: LOLWUT
    memory|doctor: MEMORY DOCTOR
    memory|help: MEMORY HELP
    memory|malloc-stats: MEMORY MALLOC-STATS
    memory|purge: MEMORY PURGE
    memory|stats: MEMORY STATS
    memory|usage: MEMORY USAGE {k}
    module|help: MODULE HELP
    module|list: MODULE LIST
    module|load: MODULE LOAD /none -> Error loading the extension
    module|loadex: MODULE LOADEX /none -> Error loading the extension
    module|unload: MODULE UNLOAD none -> no such module
    monitor: MONITOR
    psync: PSYNC ? -1
    replconf: REPLCONF listening-port 1
    replicaof: REPLICAOF 127.0.0.1 1
    role: ROLE
    save: SAVE -> in progress
    shutdown: SHUTDOWN ABORT -> No shutdown in progress
    slaveof: SLAVEOF 127.0.0.1 1
    slowlog|get: SLOWLOG GET
    slowlog|help: SLOWLOG HELP
    slowlog|len: SLOWLOG LEN
    slowlog|reset: SLOWLOG RESET
    swapdb: SWAPDB 0 1
    sync: SYNC
    time: TIME
    """
)

# Of these a server alone says that it is in no cluster: they are asked of one that is. {me} is its id, {other}
# another node's.
IN_CLUSTER = _calls(
    """
    asking: ASKING
    cluster|addslots: CLUSTER ADDSLOTS 1
    cluster|addslotsrange: CLUSTER ADDSLOTSRANGE 10 11
    cluster|bumpepoch: CLUSTER BUMPEPOCH
    cluster|count-failure-reports: CLUSTER COUNT-FAILURE-REPORTS {me}
    cluster|countkeysinslot: CLUSTER COUNTKEYSINSLOT 0
    cluster|delslots: CLUSTER ADDSLOTS 20; CLUSTER DELSLOTS 20
    cluster|delslotsrange: CLUSTER ADDSLOTS 21; CLUSTER DELSLOTSRANGE 21 21
    cluster|flushslots: CLUSTER FLUSHSLOTS
    cluster|getkeysinslot: CLUSTER GETKEYSINSLOT 0 10
    cluster|help: CLUSTER HELP
    cluster|info: CLUSTER INFO
    cluster|keyslot: CLUSTER KEYSLOT x
    cluster|links: CLUSTER LINKS
    cluster|myid: CLUSTER MYID
    cluster|nodes: CLUSTER NODES
    cluster|replicas: CLUSTER REPLICAS {other}
    cluster|saveconfig: CLUSTER SAVECONFIG
    cluster|replicate: CLUSTER REPLICATE {me} -> replicate myself
    cluster|set-config-epoch: CLUSTER SET-CONFIG-EPOCH 5 -> already non-zero
    cluster|shards: CLUSTER SHARDS
    cluster|slaves: CLUSTER SLAVES {other}
    cluster|slots: CLUSTER SLOTS
    readonly: READONLY
    readwrite: READWRITE
    """
)

# What is not in Redis 7.0, or has another meaning here: not asked of redis-server.
OUR_OWN = _calls(
    """
    client|setinfo: CLIENT SETINFO LIB-NAME x
    cluster|drain: CLUSTER DRAIN {other} CANCEL
    cluster|failover: CLUSTER FAILOVER {other}
    cluster|forget: CLUSTER FORGET 0000000000000000000000000000000000000000 -> Unknown node
    cluster|meet: CLUSTER MEET 127.0.0.1 1 -> reach the node|is a member
    cluster|rebalance: CLUSTER REBALANCE STATUS
    cluster|reset: CLUSTER RESET -> member of a cluster|containing keys
    cluster|setslot: CLUSTER SETSLOT 0 NODE {other}
    proxy|help: PROXY HELP
    proxy|info: PROXY INFO
    proxy|nodes: PROXY NODES
    proxy|plan: PROXY PLAN
    proxy|shards: PROXY SHARDS
    waitaof: WAITAOF 0 0 1
    """
)

SCRIPT = "return redis.call('get', KEYS[1])"
LIBRARY = "#!lua name=l\nredis.register_function{function_name='f', callback=function(keys) return 1 end, flags={'no-writes'}}"
STREAMS = {"sync", "psync"}  # what comes is no reply


def call_of(name):
    return CALLS.get(name) or IN_CLUSTER.get(name) or OUR_OWN.get(name)


def in_cluster(name):
    return name.startswith(("cluster|", "proxy|")) or name in IN_CLUSTER


def names(server):
    """group -> names of all commands, for a container those of its subcommands instead."""
    with server.wire() as wire:
        docs = wire.command("COMMAND", "DOCS")
    found = collections.defaultdict(list)
    for name, doc in zip(docs[::2], docs[1::2]):
        fields = dict(zip(doc[::2], doc[1::2]))
        subcommands = [sub.decode() for sub in fields.get(b"subcommands", [])[::2]]
        alone = not subcommands or name == b"command"  # the one container that is a command, too
        found[fields[b"group"].decode()] += subcommands + [name.decode()] * alone
    return found


class Asked:
    """A server that each command is asked of."""

    def __init__(self, server):
        self.server = server
        self.facts = {"script": SCRIPT, "sha": hashlib.sha1(SCRIPT.encode()).hexdigest(), "lib": LIBRARY}
        with server.wire() as wire:
            self._dumps(wire)
            me = wire.command("CLUSTER", "MYID")
            if not isinstance(me, Error):
                self.facts["me"], self.facts["other"] = me.decode(), self._other(wire, me.decode())

    def _dumps(self, wire):
        for number in range(100):  # of a node in a cluster: a key that it has
            if not isinstance(wire.command("SET", f"dumped:{number}", "v"), Error):
                self.facts["dump"] = wire.command("DUMP", f"dumped:{number}")
                break
        wire.command("FUNCTION", "LOAD", "REPLACE", LIBRARY)
        self.facts["libs"] = wire.command("FUNCTION", "DUMP")

    @staticmethod
    def _other(wire, me):
        """Another node's id; its own if it knows of none."""
        rows = wire.command("PROXY", "NODES")
        if isinstance(rows, Error):
            return me
        ids = [row.split()[0][3:].decode() for row in rows]
        return next(node for node in ids if node != me)

    def _fill(self, word, name):
        if word.startswith("{") and word[1:-1] in self.facts:
            return self.facts[word[1:-1]]
        return word.replace("{k}", "{tag}:" + name)

    def on(self, wire, name):
        """What it answers to the call of this command, on this connection."""
        call = call_of(name)
        for words in call.before:
            wire.command(*[self._fill(word, name) for word in words])
        wire.send(encode(*[self._fill(word, name) for word in call.words]))
        if name not in STREAMS:
            return wire.reply()
        line = b""
        while line == b"":  # a master that is not ready to send says so by empty lines
            line = wire.line()
        return Error(line[1:].decode()) if line.startswith(b"-") else line

    @staticmethod
    def understood(name, reply):
        """Whether the error is one that Redis answers to this call, too."""
        return call_of(name).error is not None and re.search(call_of(name).error, reply) is not None

    def serves(self, name):
        """Whether it does what it was told; what it answered."""
        with self.server.wire() as wire:
            reply = self.on(wire, name)
        refused = isinstance(reply, Error) and not self.understood(name, reply)
        if name in ("replicaof", "slaveof") and not refused:
            with self.server.wire() as wire:
                wire.command("REPLICAOF", "NO", "ONE")
        return not refused, reply


class Everything:
    """A node alone, a cluster with its proxy, and which of them serves what."""

    def __init__(self):
        options = {"enable_debug_command": "yes"}
        self.alone = Node(**options).ready()
        # Not so quick to call a node dead: PFSELFTEST takes its time where a sanitizer looks on.
        self.cluster = Cluster(min_nodes=3, heartbeat_interval="2s", **options)
        for name in "ABC":
            self.cluster.start_node(name, **options)
        self.cluster.wait_even()
        self.proxy = self.cluster.proxy
        self.member = self.cluster.nodes["A"]
        self.asked = {server: Asked(server) for server in (self.alone, self.member, self.proxy)}

    def node_for(self, name):
        return self.member if in_cluster(name) else self.alone

    def serves(self, server, name):
        """(whether it does, what it answered)"""
        return self.asked[server].serves(name)
