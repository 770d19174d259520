// usage: node redlock.js plain PORT
// Redlock: what a lock protects is done by one at a time.
"use strict";
const assert = require("assert");
const Redis = require("ioredis");
const Redlock = require("redlock").default;

async function main() {
  const clients = [1, 2, 3].map(() => new Redis(Number(process.argv[3])));
  const locks = clients.map((client) => new Redlock([client], { retryCount: 500, retryDelay: 10, retryJitter: 10 }));
  let inside = 0;
  let count = 0;
  await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      locks[i % 3].using(["{r}resource"], 5000, async () => {
        assert.strictEqual(++inside, 1);
        await clients[i % 3].ping();
        count++;
        inside--;
      }),
    ),
  );
  assert.strictEqual(count, 30);
  const lock = await locks[0].acquire(["{r}a"], 5000);
  await lock.extend(5000);
  await lock.release();
  await Promise.all(clients.map((client) => client.quit()));
  console.log("fine");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
