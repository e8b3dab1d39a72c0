/**
 * A program of an app over the npm package of version 0.1: prints a line of JSON for each step, and waits for a line.
 *
 * usage: node browser_life.mjs '{"url": …, "tokens": {"ada": …, "issued": …, "issuedWithoutApp": …}}'
 */
import { createInterface } from 'node:readline';
import { Greenroom } from '@greenroom/client';
import WebSocket from 'ws';

const { url, tokens } = JSON.parse(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (step, what) => console.log(JSON.stringify({ step, ...what }));
const until = async (word) => {
  const { value } = await lines.next();
  if (value !== word) throw new Error(`${value} came, not ${word}`);
};
const make = (token) => {
  const sdk = new Greenroom(url, globalThis.WebSocket ? {} : { webSocket: WebSocket });
  sdk.initializeToken(token);
  return sdk;
};
/** What an app of 0.1 knows of a participant. */
const known = ({ info, presence, sessions }) => ({ name: info.name ?? null, externalId: info.externalId, presence, sessions });

const ada = make(tokens.ada);
const states = [];
ada.session.onStateChanged((state) => states.push(state));
say('open', known(await ada.session.open({ name: 'Ada' })));
const watch = await ada.participants.watch({ externalIds: ['ben'] });
say('watching', known(watch.participants[0]));
for (const step of ['attributes changed', 'status changed', 'name changed']) {
  await until(step);
  const { value } = await watch.next();
  say(step, known(value));
}
say('updated', known(await ada.session.updateParticipantInfo('Ada B.')));
await until('restarted');
while (!(states.includes('reconnecting') && states.at(-1) === 'connected')) await new Promise((done) => setTimeout(done, 50));
say('resumed', known(await ada.session.getParticipant()));
for (const step of ['issued', 'issuedWithoutApp']) {
  try {
    const sdk = make(tokens[step]);
    say(step, known(await sdk.session.open()));
    await sdk.session.close();
  } catch (error) {
    say(step, { error: error.name, message: error.message });
  }
}
await ada.session.close();
process.stdin.destroy();
