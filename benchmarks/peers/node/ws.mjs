// A session service on ws: JSON-RPC as Greenroom's, presence through Redis pub/sub.
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { WebSocketServer } from "ws";
import { presence, ready, redis, redisPort, register, rename, unregister, verify } from "./common.mjs";

const watchers = new Map(); // external id -> sockets
const subscriber = new Redis({ port: Number(redisPort) });
subscriber.on("message", (channel, text) => {
  const sockets = watchers.get(channel.slice(8));
  if (!sockets) return;
  const message = `{"method":"participants.changed","params":{"participants":[${text}]},"jsonrpc":"2.0"}`;
  for (const socket of sockets) socket.send(message);
});
const publish = (change) => redis.publish(`changes:${change.externalId}`, JSON.stringify(change));

const methods = {
  async "session.open"(socket, { token }) {
    const claims = verify(token);
    const sid = randomUUID();
    const count = await register(claims, sid);
    Object.assign(socket, { claims, sid });
    publish(presence(claims, true, count));
    return { session: { id: sid, expiresAt: claims.exp * 1000 }, participant: presence(claims, true, count) };
  },
  async "participants.watch"(socket, { externalIds }) {
    for (const id of externalIds) {
      if (!watchers.has(id)) watchers.set(id, new Set());
      watchers.get(id).add(socket);
      (socket.watching ??= []).push(id);
      await subscriber.subscribe(`changes:${id}`);
    }
    return {};
  },
  async "session.updateParticipantInfo"(socket, { name }) {
    const changed = await rename(socket.claims, name);
    publish(changed);
    return { participant: changed };
  },
  ping: () => ({}),
};

const server = createServer();
const options = { server, perMessageDeflate: false, maxPayload: 32768, handleProtocols: () => "greenroom.v1" };
new WebSocketServer(options).on("connection", (socket) => {
  socket.on("message", async (data) => {
    const { id, method, params } = JSON.parse(data);
    try {
      const result = await methods[method](socket, params);
      socket.send(JSON.stringify({ id, result, jsonrpc: "2.0" }));
    } catch (error) {
      socket.send(JSON.stringify({ id, error: { code: -32050, message: error.message }, jsonrpc: "2.0" }));
    }
  });
  socket.on("close", async () => {
    for (const id of socket.watching ?? []) watchers.get(id)?.delete(socket);
    if (socket.sid) publish(presence(socket.claims, false, await unregister(socket.claims, socket.sid)));
  });
  socket.on("error", () => {});
});
ready(server);
