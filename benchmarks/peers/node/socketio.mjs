// A session service on socket.io, with its Redis adapter: rooms are who watches whom.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import { presence, ready, redisPort, register, rename, unregister, verify } from "./common.mjs";

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
  socket.on("disconnect", async () => {
    const count = await unregister(claims, socket.id);
    io.to(`watch:${claims.xid}`).emit("changed", presence(claims, false, count));
  });
});
ready(server);
