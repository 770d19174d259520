// usage: node connect-redis.js plain PORT
// Sessions of a web application: kept, changed, counted, ended.
"use strict";
const assert = require("assert");
const { createClient } = require("redis");
const { RedisStore } = require("connect-redis");

async function main() {
  const client = createClient({ url: `redis://127.0.0.1:${process.argv[3]}` });
  await client.connect();
  const store = new RedisStore({ client, ttl: 100 });
  const cookie = { originalMaxAge: null, path: "/" };
  for (let i = 0; i < 50; i++) await store.set(`sid${i}`, { cookie, user: i });
  assert.strictEqual((await store.get("sid7")).user, 7);
  await store.touch("sid7", { cookie: { ...cookie, expires: new Date(Date.now() + 50000) }, user: 7 });
  assert.strictEqual(await store.length(), 50);
  assert.strictEqual((await store.ids()).length, 50);
  assert.strictEqual((await store.all()).length, 50);
  await store.destroy("sid7");
  assert.ok(!(await store.get("sid7")));
  await store.clear();
  assert.strictEqual(await store.length(), 0);
  await client.close();
  console.log("fine");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
