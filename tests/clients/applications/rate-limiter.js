// usage: node rate-limiter.js plain PORT
// rate-limiter-flexible: exactly as many requests as allowed get through, however many ask at once.
"use strict";
const assert = require("assert");
const Redis = require("ioredis");
const { RateLimiterRedis } = require("rate-limiter-flexible");

async function main() {
  const storeClient = new Redis(Number(process.argv[3]));
  const limiter = new RateLimiterRedis({ storeClient, points: 10, duration: 100, keyPrefix: "limit" });
  for (const user of ["ann", "bob", "eve"]) {
    const asked = await Promise.allSettled(Array.from({ length: 30 }, () => limiter.consume(user)));
    assert.strictEqual(asked.filter((one) => one.status === "fulfilled").length, 10);
    assert.ok(asked.every((one) => one.status === "fulfilled" || one.reason.msBeforeNext > 0));
    await limiter.delete(user);
    assert.strictEqual((await limiter.consume(user)).remainingPoints, 9);
  }
  await storeClient.quit();
  console.log("fine");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
