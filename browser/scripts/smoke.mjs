// One life of a session in whatever runtime runs this file: node, deno run -A, bun.
//
//   node browser/scripts/smoke.mjs URL APP_KEY APP_SECRET
//
// Not part of `node --test` (Deno and Bun are not installed by `make test`); docs/reference/browser-sdk.md says in which
// runtimes it was last run.
import { Greenroom } from "../../src/greenroom/server/http/static_files/greenroom.js";

const [url, key, secret] = (globalThis.Deno?.args ?? process.argv.slice(2)).slice(-3);
const runtime = globalThis.Deno ? `deno ${Deno.version.deno}` : globalThis.Bun ? `bun ${Bun.version}` : `node ${process.version}`;
const options = globalThis.WebSocket ? {} : { webSocket: (await import("ws")).default };

const sdk = new Greenroom(url, options);
sdk.initialize(key, secret);
const states = [];
sdk.session.onStateChanged((state) => states.push(state));
await sdk.session.open({ name: "Anna", externalId: `smoke-${runtime.split(" ")[0]}` });
if (!(await sdk.session.isOpen())) throw new Error("not open");
const before = await sdk.session.getParticipant();
await sdk.session.updateParticipantInfo("Anna B.", null);
const after = await sdk.session.getParticipant();
if (after.revision !== before.revision + 1) throw new Error(`revision ${before.revision} to ${after.revision}`);
const [me] = await sdk.participants.get({ externalIds: [`smoke-${runtime.split(" ")[0]}`] });
if (me.presence !== "online") throw new Error(`presence ${me.presence}`);
await sdk.session.close();
if (await sdk.session.isOpen()) throw new Error("still open");
console.log(`${runtime}: ${states.join(", ")}`);
