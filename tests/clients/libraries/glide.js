// usage: node glide.js plain|cluster PORT
// valkey-glide with its default settings. Prints "fine", or says what was wrong.
"use strict";
const assert = require("assert");
const { GlideClient, GlideClusterClient, Script, Batch, ClusterBatch } = require("@valkey/valkey-glide");

const [kind, port] = process.argv.slice(2);
const cluster = kind === "cluster";

async function main() {
  const options = { addresses: [{ host: "127.0.0.1", port: Number(port) }], requestTimeout: 20000 };
  const r = await (cluster ? GlideClusterClient : GlideClient).createClient(options);
  await r.flushall();
  assert.strictEqual(await r.set("s", "1"), "OK");
  assert.strictEqual(await r.incrBy("s", 41), 42);
  assert.strictEqual(await r.hset("h", { a: "1", b: "2" }), 2);
  assert.strictEqual((await r.hgetall("h")).length, 2);
  assert.strictEqual(await r.rpush("l", ["a", "b"]), 2);
  assert.deepStrictEqual(await r.lrange("l", 0, -1), ["a", "b"]);
  assert.strictEqual(await r.sadd("u", ["x", "y"]), 2);
  assert.deepStrictEqual(await r.smembers("u"), new Set(["x", "y"]));
  assert.strictEqual(await r.zadd("z", { one: 1, two: 2.5 }), 2);
  assert.strictEqual(await r.zscore("z", "two"), 2.5);
  const id = await r.xadd("x", [["f", "v"]]);
  assert.deepStrictEqual(Object.keys(await r.xrange("x", { value: id }, { value: id })), [id]);
  const batch = cluster ? new ClusterBatch(true) : new Batch(true);
  assert.deepStrictEqual(await r.exec(batch.set("{t}n", "1").incr("{t}n"), true), ["OK", 2]);
  const script = new Script("return redis.call('incrby', KEYS[1], ARGV[1])");
  assert.strictEqual(await r.invokeScript(script, { keys: ["{t}n"], args: ["40"] }), 42);
  const values = await Promise.all(Array.from({ length: 300 }, (_, i) => r.set(`key:${i}`, String(i))));
  assert.ok(values.every((reply) => reply === "OK"));
  assert.deepStrictEqual(await r.mget(["key:1", "key:2"]), ["1", "2"]);
  await assert.rejects(r.incr("h"), /WRONGTYPE/);
  r.close();
  console.log("fine");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
