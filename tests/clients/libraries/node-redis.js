// usage: node node-redis.js plain|cluster PORT
// node-redis with its default settings, and once with RESP3. Prints "fine", or says what was wrong.
"use strict";
const assert = require("assert");
const { createClient, createCluster } = require("redis");

const [kind, port] = process.argv.slice(2);
const url = `redis://127.0.0.1:${port}`;

async function connect(options = {}) {
  const made = kind === "cluster" ? createCluster({ rootNodes: [{ url }], ...options }) : createClient({ url, ...options });
  made.on("error", (error) => console.error("client error:", error.message));
  await made.connect();
  return made;
}

async function types(r) {
  assert.strictEqual(await r.set("s", "1", { EX: 100 }), "OK");
  assert.strictEqual(await r.get("s"), "1");
  assert.strictEqual(await r.hSet("h", { a: "1", b: "2" }), 2);
  assert.deepEqual({ ...(await r.hGetAll("h")) }, { a: "1", b: "2" });
  assert.strictEqual(await r.rPush("l", ["a", "b", "c"]), 3);
  assert.deepStrictEqual(await r.lRange("l", 0, -1), ["a", "b", "c"]);
  assert.strictEqual(await r.sAdd("u", ["x", "y"]), 2);
  assert.strictEqual(await r.zAdd("z", [{ score: 1, value: "one" }, { score: 2.5, value: "two" }]), 2);
  assert.deepEqual(await r.zRangeWithScores("z", 0, -1), [{ score: 1, value: "one" }, { score: 2.5, value: "two" }]);
  const id = await r.xAdd("x", "*", { f: "v" });
  const [entry] = await r.xRange("x", "-", "+");
  assert.strictEqual(entry.id, id);
  await r.xGroupCreate("x", "g", "0");
  const read = await r.xReadGroup("g", "c", { key: "x", id: ">" });
  const [message] = Array.isArray(read) ? read[0].messages : read.x; // RESP2, RESP3
  assert.strictEqual(message.id ?? String(message[0]), id);
  assert.strictEqual(await r.xAck("x", "g", id), 1);
  await assert.rejects(r.incr("h"), /WRONGTYPE/);
}

async function more(r) {
  assert.deepStrictEqual(await r.multi().set("{t}n", "1").incr("{t}n").get("{t}n").exec(), ["OK", 2, "2"]);
  assert.strictEqual(await r.eval("return redis.call('incrby', KEYS[1], ARGV[1])", { keys: ["{t}n"], arguments: ["40"] }), 42);
  const all = await Promise.all(Array.from({ length: 500 }, (_, i) => r.set(`key:${i}`, String(i))));
  assert.ok(all.every((reply) => reply === "OK"));
}

async function waiting(r) {
  const other = await connect();
  const popped = other.blPop("queue", 20);
  await r.rPush("queue", "job");
  assert.deepEqual(await popped, { key: "queue", element: "job" });
  await other.close();
}

async function messages(r) {
  const sub = await connect();
  const got = [];
  let finished;
  const done = new Promise((resolve) => (finished = resolve));
  await sub.subscribe("news", (text) => got.push(text) === 50 && finished());
  for (let i = 0; i < 50; i++) await r.publish("news", String(i));
  await done;
  assert.deepStrictEqual(got, Array.from({ length: 50 }, (_, i) => String(i)));
  await sub.close();
}

async function main() {
  for (const options of [{}, { RESP: 3 }]) {
    const r = await connect(options);
    if (kind === "plain") await r.flushAll();
    else for (const master of r.masters) await (await r.nodeClient(master)).flushAll();
    await types(r);
    await more(r);
    await waiting(r);
    await messages(r);
    if (kind === "plain") {
      const names = new Set();
      for await (const keys of r.scanIterator({ MATCH: "key:*" })) for (const key of [].concat(keys)) names.add(key);
      assert.strictEqual(names.size, 500);
    }
    await r.close();
  }
  console.log("fine");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
