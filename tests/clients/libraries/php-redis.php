<?php
// usage: php php-redis.php plain|cluster PORT
// phpredis with its default settings. Prints "fine", or says what was wrong.
[$kind, $port] = [$argv[1], (int)$argv[2]];

function same($wanted, $got)
{
    if ($wanted !== $got) {
        fwrite(STDERR, "wanted " . var_export($wanted, true) . ", got " . var_export($got, true) . "\n");
        debug_print_backtrace();
        exit(1);
    }
}

if ($kind === "cluster") {
    $r = new RedisCluster(null, ["127.0.0.1:$port"]);
    foreach ($r->_masters() as $node) {
        $r->flushAll($node);
    }
} else {
    $r = new Redis();
    $r->connect("127.0.0.1", $port);
    $r->flushAll();
}
same(true, $r->set("s", "1"));
same(42, $r->incrBy("s", 41));
same(true, $r->hMSet("h", ["a" => "1", "b" => "2"]));
same(["a" => "1", "b" => "2"], $r->hGetAll("h"));
same(3, $r->rPush("l", "a", "b", "c"));
same(["a", "b", "c"], $r->lRange("l", 0, -1));
same(2, $r->sAdd("u", "x", "y"));
same(1, $r->zAdd("z", 2.5, "two"));
same(2.5, $r->zScore("z", "two"));
$id = $r->xAdd("x", "*", ["f" => "v"]);
same([$id => ["f" => "v"]], $r->xRange("x", "-", "+"));
same(["OK" => true], ["OK" => (bool)$r->set("{t}n", "1")]);
$r->multi();
$r->incr("{t}n");
$r->get("{t}n");
same([2, "2"], $r->exec());
same(42, $r->eval("return redis.call('incrby', KEYS[1], ARGV[1])", ["{t}n", 40], 1));
for ($i = 0; $i < 300; $i++) {
    same(true, $r->set("key:$i", (string)$i));
}
same(["1", "299"], $r->mGet(["key:1", "key:299"]));
same(false, $r->hGet("h", "nothing"));
same(["queue", "job"], $r->rPush("queue", "job") === 1 ? $r->blPop(["queue"], 5) : null);
if ($kind === "plain") {
    $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    $names = [];
    $cursor = null;
    while ($keys = $r->scan($cursor, "key:*", 100)) {
        $names = array_merge($names, $keys);
    }
    same(300, count(array_unique($names)));
    $pipe = $r->multi(Redis::PIPELINE);
    for ($i = 0; $i < 100; $i++) {
        $pipe->get("key:$i");
    }
    same(array_map("strval", range(0, 99)), $pipe->exec());
}
echo "fine\n";
