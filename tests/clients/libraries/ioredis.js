// usage: node ioredis.js plain|cluster PORT
// ioredis with its default settings. Ends with 0 and prints "fine", or says what was wrong.
"use strict";
const assert = require("assert");
const Redis = require("ioredis");

const [kind, port] = process.argv.slice(2);
const connect = () =>
  kind === "cluster" ? new Redis.Cluster([{ host: "127.0.0.1", port: Number(port) }]) : new Redis(Number(port));

async function types(r) {
  assert.strictEqual(await r.set("s", "1", "EX", 100), "OK");
  assert.strictEqual(await r.incrbyfloat("s", 0.5), "1.5");
  assert.strictEqual(await r.hset("h", { a: "1", b: "2" }), 2);
  assert.deepStrictEqual(await r.hgetall("h"), { a: "1", b: "2" });
  assert.strictEqual(await r.rpush("l", "a", "b", "c"), 3);
  assert.deepStrictEqual(await r.lrange("l", 0, -1), ["a", "b", "c"]);
  assert.strictEqual(await r.sadd("u", "x", "y", "x"), 2);
  assert.deepStrictEqual((await r.smembers("u")).sort(), ["x", "y"]);
  assert.strictEqual(await r.zadd("z", 1, "one", 2.5, "two"), 2);
  assert.deepStrictEqual(await r.zrange("z", 0, -1, "WITHSCORES"), ["one", "1", "two", "2.5"]);
  const id = await r.xadd("x", "*", "f", "v");
  assert.deepStrictEqual(await r.xrange("x", "-", "+"), [[id, ["f", "v"]]]);
  assert.deepStrictEqual(await r.xread("COUNT", 1, "STREAMS", "x", "0"), [["x", [[id, ["f", "v"]]]]]);
  assert.strictEqual(await r.pfadd("p", "a", "b"), 1);
  assert.strictEqual(await r.pfcount("p"), 2);
  assert.strictEqual(await r.geoadd("g", 13.361389, 38.115556, "Palermo"), 1);
  assert.deepStrictEqual(await r.geosearch("g", "FROMLONLAT", 13, 38, "BYRADIUS", 100, "km"), ["Palermo"]);
  await assert.rejects(r.incr("h"), /WRONGTYPE/);
}

async function more(r) {
  const multi = await r.multi().set("{t}n", 1).incr("{t}n").lpush("{t}l", "a").exec();
  assert.deepStrictEqual(multi, [[null, "OK"], [null, 2], [null, 1]]);
  assert.strictEqual(await r.eval("return redis.call('incrby', KEYS[1], ARGV[1])", 1, "{t}n", 40), 42);
  r.defineCommand("twice", { numberOfKeys: 1, lua: "return tonumber(redis.call('get', KEYS[1])) * 2" });
  assert.strictEqual(await r.twice("{t}n"), 84);
  assert.strictEqual(await r.twice("{t}n"), 84);
  const pipeline = r.pipeline();
  for (let i = 0; i < 500; i++) pipeline.set(`{t}key:${i}`, i);
  assert.ok((await pipeline.exec()).every(([error, reply]) => error === null && reply === "OK"));
}

async function waiting(r) {
  const other = connect();
  const popped = other.blpop("queue", 20);
  assert.strictEqual(await r.rpush("queue", "job"), 1);
  assert.deepStrictEqual(await popped, ["queue", "job"]);
  assert.strictEqual(await other.blpop("queue", 0.05), null);
  await other.quit();
}

async function messages(r) {
  const sub = connect();
  const got = [];
  const done = new Promise((resolve) => {
    sub.on("message", (channel, text) => got.push([channel, text]) === 100 && resolve());
  });
  assert.strictEqual(await sub.subscribe("news"), 1);
  for (let i = 0; i < 100; i++) assert.strictEqual(await r.publish("news", String(i)), 1);
  await done;
  assert.deepStrictEqual(got, Array.from({ length: 100 }, (_, i) => ["news", String(i)]));
  await sub.unsubscribe("news");
  await sub.quit();
}

async function scanning(r) {
  const names = new Set();
  for await (const keys of r.scanStream({ match: "{t}key:*", count: 50 })) keys.forEach((key) => names.add(key));
  assert.strictEqual(names.size, 500);
}

async function main() {
  const r = connect();
  await r.flushall();
  await types(r);
  await more(r);
  await waiting(r);
  await messages(r);
  if (kind === "plain") await scanning(r);
  await r.quit();
  console.log("fine");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
