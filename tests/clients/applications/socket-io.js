// usage: node socket-io.js plain PORT
// socket.io over two servers: what one sends to a room reaches the clients of the other.
"use strict";
const assert = require("assert");
const { createServer } = require("http");
const { Server } = require("socket.io");
const { io } = require("socket.io-client");
const { createClient } = require("redis");
const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");

const url = `redis://127.0.0.1:${process.argv[3]}`;

async function start(make) {
  const pub = createClient({ url });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  const http = createServer();
  const server = new Server(http, { adapter: make(pub, sub) });
  server.on("connection", (socket) => socket.join("room"));
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { server, port: http.address().port };
}

async function once(make) {
  const servers = [await start(make), await start(make)];
  const sockets = servers.map(({ port }) => io(`http://127.0.0.1:${port}`, { transports: ["websocket"] }));
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on("connect", resolve))));
  while ((await servers[0].server.in("room").fetchSockets()).length < 2);
  const heard = sockets.map((socket) => {
    const got = [];
    return new Promise((resolve) => socket.on("news", (n) => got.push(n) === 20 && resolve(got)));
  });
  for (let i = 0; i < 20; i++) servers[0].server.to("room").emit("news", i);
  for (const got of await Promise.all(heard)) assert.deepStrictEqual(got, Array.from({ length: 20 }, (_, i) => i));
  sockets.forEach((socket) => socket.disconnect());
  for (const { server } of servers) await server.close();
}

async function main() {
  await once((pub, sub) => createAdapter(pub, sub));
  await once((pub, sub) => createShardedAdapter(pub, sub));
  console.log("fine");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
