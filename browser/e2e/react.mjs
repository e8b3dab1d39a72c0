/**
 * @greenroom/react in StrictMode against a running service.
 * usage: node --import ./test/support/resolve.mjs react.mjs '{"url": …, "tokens": {"ada": …, "ben": …}}'
 * (run by tests/browser/test_node.py)
 */
import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import { JSDOM } from 'jsdom';
import WebSocket from 'ws';

const { window } = new JSDOM('<!doctype html><div id="root"></div>');
const { document, navigator } = window;
for (const [name, value] of Object.entries({ window, document, navigator }))
  Object.defineProperty(globalThis, name, { value, configurable: true });
const { createElement: h, StrictMode } = await import('react');
const { createRoot } = await import('react-dom/client');
const { Greenroom } = await import('@greenroom/client');
const { GreenroomProvider, usePresence, useRoom, useSession } = await import('../react/index.js');

const { url, tokens } = JSON.parse(process.argv[2]);
const at = document.getElementById('root');
const shows = async (text) => {
  for (let waited = 0; at.textContent !== text; waited += 20) {
    assert.ok(waited < 10_000, `${text} is not shown, but ${at.textContent}`);
    await sleep(20);
  }
};

const Page = () => {
  const { state, participant } = useSession();
  return `${participant?.info.name} ${state}, Ben ${usePresence({ externalId: 'ben' })}`;
};
const root = createRoot(at);
const props = { url, options: { webSocket: WebSocket }, token: null, refresh: () => tokens.ada, info: { name: 'Ada' } };
root.render(h(StrictMode, null, h(GreenroomProvider, props, h(Page))));
await shows('Ada connected, Ben offline');

const ben = new Greenroom(url, { webSocket: WebSocket });
ben.initializeToken(tokens.ben);
await ben.session.open({ name: 'Ben' });
await shows('Ada connected, Ben online');
const [ada] = await ben.participants.get({ externalIds: ['ada'] });
assert.equal(ada.sessions, 1); // StrictMode mounts twice
await ben.session.close();
await shows('Ada connected, Ben offline');

// A room, joined while it is shown.
await ben.session.open({ name: 'Ben' });
const room = await ben.rooms.join('standup');
const Room = () => {
  const { members, isLoading, send } = useRoom('standup', { onMessage: (message) => send(`${message} too`) });
  return isLoading ? 'loading' : members.map(({ info }) => info.name).join(' ');
};
root.render(h(StrictMode, null, h(GreenroomProvider, props, h(Room))));
await shows('Ben Ada');
const answer = new Promise((resolve) => room.on('message', resolve));
await room.send('hello');
assert.equal(await answer, 'hello too');
root.render(h(StrictMode, null, h(GreenroomProvider, props, h(Page))));
await shows('Ada connected, Ben online');
for (let waited = 0; room.count !== 1; waited += 20) {
  assert.ok(waited < 10_000, 'Ada is still in the room');
  await sleep(20);
}

root.unmount();
for (let waited = 0; (await ben.participants.get([ada.id]))[0].presence !== 'offline'; waited += 20) {
  assert.ok(waited < 10_000, 'Ada is still there');
  await sleep(20);
}
ben.dispose();
console.log('ok');
