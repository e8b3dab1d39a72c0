// What both Node peers do for a session: check the token, store the session in Redis, publish presence.
import { readFileSync } from "node:fs";
import { createVerifier } from "fast-jwt";
import { Redis } from "ioredis";

export const [, , alg, keyFile, redisPort] = process.argv;
export const redis = new Redis({ port: Number(redisPort), enableAutoPipelining: true });

const options = {
  algorithms: [alg],
  allowedIss: "https://bench.example",
  allowedAud: "greenroom:session",
  requiredClaims: ["iss", "aud", "sub", "exp", "iat", "jti"],
  cache: false, // each token is seen once, as with real clients that open once an hour
};
export const verify = createVerifier({ key: readFileSync(keyFile, "utf8"), ...options });

export function presence(claims, online, sessions) {
  return { externalId: claims.xid, id: claims.sub, presence: online ? "online" : "offline", sessions };
}

// Session and participant are written in one transaction; the answer comes after Redis has them in its log.
export async function register(claims, sid) {
  const person = `p:${claims.sub}`;
  const replies = await redis
    .multi()
    .hset(`s:${sid}`, "participant", claims.sub, "openedAt", Date.now(), "expiresAt", claims.exp)
    .hset(person, "externalId", claims.xid)
    .hincrby(person, "version", 1)
    .sadd(`${person}:sessions`, sid)
    .scard(`${person}:sessions`)
    .exec();
  return replies[4][1];
}

export async function unregister(claims, sid) {
  const person = `p:${claims.sub}`;
  const replies = await redis
    .multi()
    .del(`s:${sid}`)
    .hincrby(person, "version", 1)
    .srem(`${person}:sessions`, sid)
    .scard(`${person}:sessions`)
    .exec();
  return replies[3][1];
}

export async function rename(claims, name) {
  const replies = await redis.multi().hset(`p:${claims.sub}`, "name", name).hincrby(`p:${claims.sub}`, "version", 1).exec();
  return { externalId: claims.xid, id: claims.sub, name, version: replies[1][1] };
}

// The roster is a hash; who joins gets all of it. Written before the answer, as sessions are.
export async function enter(claims, room) {
  const replies = await redis.multi().hset(`r:${room}`, claims.sub, claims.xid).hgetall(`r:${room}`).exec();
  return { room, members: Object.entries(replies[1][1]).map(([id, externalId]) => ({ id, externalId })) };
}

export async function exit(claims, room) {
  await redis.hdel(`r:${room}`, claims.sub);
}

export function ready(server) {
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
    process.stdout.write(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }) + "\n");
  });
}
process.on("SIGTERM", () => process.exit(0));
