// A session service on socket.io, with its Redis adapter: its rooms are who watches whom, and who is in a room.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import { enter, exit, presence, ready, redisPort, register, rename, unregister, verify } from "./common.mjs";

const server = createServer();
const pub = new Redis({ port: Number(redisPort) });
const options = { transports: ["websocket"], perMessageDeflate: false, maxHttpBufferSize: 32768, serveClient: false };
const io = new Server(server, { ...options, adapter: createAdapter(pub, pub.duplicate()) });

io.use(async (socket, next) => {
  try {
    const claims = verify(socket.handshake.auth.token);
    socket.data.claims = claims;
    const count = await register(claims, socket.id);
    io.to(`watch:${claims.xid}`).emit("changed", presence(claims, true, count));
    next();
  } catch (error) {
    next(error);
  }
});
io.on("connection", (socket) => {
  const { claims } = socket.data;
  socket.on("echo", (done) => done());
  socket.on("watch", async (ids, done) => {
    await socket.join(ids.map((id) => `watch:${id}`));
    done();
  });
  socket.on("rename", async (name, done) => {
    const changed = await rename(claims, name);
    io.to(`watch:${claims.xid}`).emit("changed", changed);
    done(changed);
  });
  const rooms = new Set();
  const leave = async (room) => {
    if (!rooms.delete(room)) return;
    await exit(claims, room);
    io.to(`room:${room}`).emit("left", { room, id: claims.sub });
  };
  socket.on("join", async (room, done) => {
    const roster = await enter(claims, room);
    rooms.add(room);
    io.to(`room:${room}`).emit("joined", { room, id: claims.sub, externalId: claims.xid });
    await socket.join(`room:${room}`);
    done(roster);
  });
  socket.on("leave", async (room, done) => {
    await socket.leave(`room:${room}`);
    await leave(room);
    done();
  });
  socket.on("say", (room, message, done) => {
    socket.to(`room:${room}`).emit("message", { room, from: claims.sub, message });
    done();
  });
  socket.on("disconnect", async () => {
    for (const room of rooms) await leave(room);
    const count = await unregister(claims, socket.id);
    io.to(`watch:${claims.xid}`).emit("changed", presence(claims, false, count));
  });
});
ready(server);
