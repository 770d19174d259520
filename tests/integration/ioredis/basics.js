// usage: node basics.js plain|cluster PORT      (NODE_PATH leads to ioredis)
// The basics of an application, with ioredis as it is by default. Ends with 0 and prints "fine",
// or ends with 1 and says what was wrong.
"use strict";
const assert = require("assert");
const Redis = require("ioredis");

async function basics(client, cluster) {
  await client.flushall();
  assert.strictEqual(await client.ping(), "PONG");
  assert.strictEqual(await client.set("a", "1"), "OK");
  assert.strictEqual(await client.get("a"), "1");
  assert.strictEqual(await client.get("nothing"), null);
  assert.strictEqual(await client.set("a", "2", "EX", 100, "NX"), null);
  assert.strictEqual(await client.incrby("a", 41), 42);
  assert.ok((await client.expire("a", 1000)) === 1);
  assert.ok((await client.ttl("a")) > 900);
  assert.deepStrictEqual(await client.getBuffer("a"), Buffer.from("42"));
  await assert.rejects(client.incr("{t}x").then(() => client.set("{t}x", "y")).then(() => client.incr("{t}x")));

  // Keys of one slot: what every client may do anywhere.
  assert.strictEqual(await client.mset("{t}1", "one", "{t}2", "two"), "OK");
  assert.deepStrictEqual(await client.mget("{t}1", "{t}2", "{t}3"), ["one", "two", null]);
  const multi = await client.multi().set("{t}n", 1).incr("{t}n").get("{t}n").exec();
  assert.deepStrictEqual(multi, [[null, "OK"], [null, 2], [null, "2"]]);

  // A thousand keys all over the cluster, at once.
  const writes = [];
  for (let i = 0; i < 1000; i++) writes.push(client.set("key:" + i, "v" + i));
  assert.ok((await Promise.all(writes)).every((reply) => reply === "OK"));
  const reads = [];
  for (let i = 0; i < 1000; i++) reads.push(client.get("key:" + i));
  (await Promise.all(reads)).forEach((value, i) => assert.strictEqual(value, "v" + i));

  if (!cluster) {
    const pipeline = client.pipeline();
    for (let i = 0; i < 1000; i++) pipeline.get("key:" + i);
    (await pipeline.exec()).forEach(([error, value], i) => assert.deepStrictEqual([error, value], [null, "v" + i]));
    const names = [];
    for (let i = 0; i < 1000; i++) names.push("key:" + i);
    assert.strictEqual((await client.mget(names)).filter((value) => value !== null).length, 1000);
    assert.strictEqual(await client.unlink(names), 1000);
    await client.select(3);
    await client.set("a", "other database");
    await client.select(0);
    assert.strictEqual(await client.get("a"), "42");
  }
}

async function main() {
  const [kind, port] = process.argv.slice(2);
  const client =
    kind === "cluster"
      ? new Redis.Cluster([{ host: "127.0.0.1", port: Number(port) }])
      : new Redis(Number(port));
  const limit = setTimeout(() => {
    console.error("not done within 30 s");
    process.exit(1);
  }, 30000);
  client.on("error", (error) => console.error("client error: " + error.message));
  await basics(client, kind === "cluster");
  await client.quit();
  clearTimeout(limit);
  console.log("fine");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
