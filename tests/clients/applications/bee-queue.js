// usage: node bee-queue.js plain PORT
// bee-queue: every job is done once, its result comes back.
"use strict";
const assert = require("assert");
const Queue = require("bee-queue");

async function main() {
  const queue = new Queue("sums", { redis: { host: "127.0.0.1", port: Number(process.argv[3]) } });
  const times = new Map();
  queue.process(4, async (job) => {
    times.set(job.id, (times.get(job.id) || 0) + 1);
    return job.data.a + job.data.b;
  });
  const results = await Promise.all(
    Array.from({ length: 40 }, async (_, a) => {
      const job = queue.createJob({ a, b: 1 });
      const result = new Promise((resolve, reject) => {
        job.on("succeeded", resolve);
        job.on("failed", reject);
      });
      await job.save();
      return result;
    }),
  );
  assert.deepStrictEqual(results, Array.from({ length: 40 }, (_, a) => a + 1));
  assert.ok([...times.values()].every((n) => n === 1) && times.size === 40);
  await queue.destroy();
  await queue.close();
  console.log("fine");
}

process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
