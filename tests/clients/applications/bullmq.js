// usage: node bullmq.js plain PORT
// BullMQ: jobs are done once each, retried, delayed, in order of priority; events arrive.
"use strict";
const assert = require("assert");
const { Queue, Worker, QueueEvents } = require("bullmq");

const connection = { host: "127.0.0.1", port: Number(process.argv[3]), maxRetriesPerRequest: null };
const prefix = "{bull}"; // BullMQ's own advice for clusters

async function main() {
  const queue = new Queue("work", { connection, prefix });
  const events = new QueueEvents("work", { connection, prefix });
  await events.waitUntilReady();
  const seen = new Map();
  let completed = 0;
  let finished;
  const done = new Promise((resolve) => (finished = resolve));
  events.on("completed", () => ++completed === 60 && finished());
  const worker = new Worker(
    "work",
    async (job) => {
      const times = (seen.get(job.name) || 0) + 1;
      seen.set(job.name, times);
      if (job.name === "fails once" && times === 1) throw new Error("as planned");
      return job.data.n * 2;
    },
    { connection, prefix, concurrency: 4 },
  );
  const jobs = await queue.addBulk(Array.from({ length: 58 }, (_, n) => ({ name: `job ${n}`, data: { n } })));
  await queue.add("fails once", { n: 1 }, { attempts: 3, backoff: 50 });
  await queue.add("later", { n: 2 }, { delay: 200, priority: 3 });
  await done;
  assert.strictEqual(seen.size, 60);
  for (const [name, times] of seen) assert.strictEqual(times, name === "fails once" ? 2 : 1, name);
  assert.strictEqual((await queue.getJob(jobs[7].id)).returnvalue, 14);
  assert.strictEqual((await queue.getJobCounts()).completed, 60);
  await worker.close();
  await events.close();
  await queue.obliterate({ force: true });
  await queue.close();
  console.log("fine");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
