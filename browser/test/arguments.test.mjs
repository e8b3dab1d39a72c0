/** What people type: spellings that mean the same, and mistakes that are refused by name. */
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { Greenroom, errors } from '../src/index.js';
import { serviceBase } from '../src/transport.js';
import { FakeService, participantId, token } from './support/service.mjs';

const refused = (text) => (error) => {
  assert.ok(error instanceof errors.GreenroomError, String(error));
  assert.match(error.message, text);
  return true;
};

const opened = async (info, options) => {
  const service = new FakeService();
  const sdk = new Greenroom('http://service', { webSocket: service.WebSocket });
  sdk.initializeToken(token('ada'));
  await sdk.session.open(info, options);
  return { service, sdk };
};

test('all spellings of a base URL mean the same', () => {
  for (const url of ['http://host', 'http://host/', 'http://host//', 'ws://host/', ' http://host/ ', 'HTTP://host', new URL('http://host/')])
    assert.equal(serviceBase(url), 'http://host');
  for (const url of ['https://host/a/b', 'wss://host/a/b/', 'HTTPS://host/a/b//\n']) assert.equal(serviceBase(url), 'https://host/a/b');
});

test('what is wrong with a URL is said', () => {
  assert.throws(() => new Greenroom('127.0.0.1:7465'), refused(/'127.0.0.1:7465' lacks http:\/\/ or https:\/\//));
  for (const url of ['ftp://host', 'http://', 'http://user@host', 'http://host?q'])
    assert.throws(() => new Greenroom(url), refused(/is not the address of a service/));
});

test('null is absent', async () => {
  const { sdk } = await opened(null, null);
  await sdk.session.close();
  const again = await opened({ name: null, avatarUrl: null, externalId: null }, { device: null });
  await again.sdk.session.updateParticipantInfo('Ada', null, null);
  await again.sdk.session.close();
});

test('attributes are texts by name', async () => {
  const { sdk } = await opened({ attributes: { role: 'nurse' } });
  const { session } = sdk;
  await assert.rejects(session.updateParticipantInfo({ attributes: { role: 5 } }), refused(/attributes.role must be a string, not a number/));
  await assert.rejects(session.updateParticipantInfo({ attributes: ['nurse'] }), refused(/attributes must be an object of texts, not an array/));
  await assert.rejects(session.updateParticipantInfo({ attributes: 'nurse' }), refused(/not a string. Pass \{ role: 'nurse' \}/));
  await assert.rejects(session.updateParticipantInfo({ role: 'nurse' }), refused(/info has no member role. It has name, avatarUrl, attributes/));
  await assert.rejects(session.updateParticipantInfo({ attributes: { a: '\ud800' } }), refused(/attributes.a has a lone surrogate/));
  await assert.rejects(session.setStatus(), refused(/status must be a string/));
  await assert.rejects(opened({ attributes: 5 }), refused(/attributes must be an object of texts, not a number/));
  assert.throws(() => new Greenroom('http://h', { autoAway: { idel: 5 } }), refused(/autoAway has no member idel. It has hidden, idle/));
  await session.close();
});

test('a text in place of info says what was meant', async () => {
  await assert.rejects(opened('Anna'), refused(/info must be an object, not a string. Pass \{ name: 'Anna' \}/));
});

test('unknown members are refused by name, with what was probably meant', async () => {
  await assert.rejects(opened({ Name: 'Anna' }), refused(/info has no member Name. Is name meant\?/));
  await assert.rejects(opened({ external_id: 'a' }), refused(/info has no member external_id. Is externalId meant\?/));
  await assert.rejects(opened({ nick: 'Anna' }), refused(/info has no member nick. It has name, avatarUrl, externalId/));
  await assert.rejects(opened({}, { Timeout: 5 }), refused(/options has no member Timeout. Is timeout meant\?/));
  assert.throws(() => new Greenroom('http://h', { websocket: 1 }), refused(/options has no member websocket. Is webSocket meant\?/));
});

test('ids that cannot be ids are refused', async () => {
  const { sdk } = await opened();
  for (const call of ['watch', 'get', 'unwatch']) {
    await assert.rejects(sdk.participants[call]('bob'), refused(/'bob' is not a participant's id.*externalIds: \['bob'\]/));
    await assert.rejects(sdk.participants[call]({ externalId: 'ben' }), refused(/who has no member externalId. Is externalIds meant\?/));
  }
  assert.equal((await sdk.participants.get(participantId('bob')))[0].id, participantId('bob'));
  await sdk.session.close();
});

test('what is pasted around a token is named', () => {
  const sdk = new Greenroom('http://h');
  for (const [given, text] of [
    ['"a.b.c"', /begins with ": pass it without quotes/],
    ['Bearer a.b.c', /begins with Bearer/],
    ['{"access_token":"a.b.c"}', /is JSON: pass its access_token alone/],
    [Promise.resolve('a.b.c'), /token is a Promise: await it first/],
    [5, /of type number, not a string/],
  ])
    assert.throws(() => sdk.initializeToken(given), refused(text));
  sdk.initializeToken(` ${token('ada')}\n`);
  assert.throws(() => sdk.initializeToken(null), refused(/there is no refresh callback/));
});

test('after a kick the next call says how the session ended', async () => {
  const { service, sdk } = await opened();
  const ended = new Promise((resolve) => sdk.session.onEnded(resolve));
  service.endAll('kicked');
  await ended;
  await assert.rejects(sdk.session.getParticipant(), refused(/the last one has ended \(kicked\)/));
  await sdk.session.open();
  await sdk.session.close();
  await assert.rejects(sdk.session.getParticipant(), refused(/^No session is open\. Open a session first\.$/));
});

test('1,500 lookups at once lose none', async () => {
  const { sdk } = await opened();
  const ids = Array.from({ length: 1500 }, (_, number) => participantId(`w${number}`));
  const found = await Promise.all(ids.map((id) => sdk.participants.get(id)));
  assert.deepEqual(found.map(([one]) => one.id), ids);
  await sdk.session.close();
});

test('signed out, signed in with a new object, and reloaded: the same session', async () => {
  const listeners = [];
  const store = new Map();
  const globals = {
    document: { addEventListener() {}, visibilityState: 'visible' },
    addEventListener: (name, handler) => listeners.push([name, handler]),
    sessionStorage: {
      getItem: (key) => store.get(key) ?? null,
      setItem: (key, value) => store.set(key, value),
      removeItem: (key) => store.delete(key),
    },
  };
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  try {
    const service = new FakeService();
    const make = (Class) => {
      const sdk = new Class('http://page', { webSocket: service.WebSocket });
      sdk.initializeToken(token('ada'));
      return sdk;
    };
    const first = make(Greenroom);
    await first.session.open();
    await first.session.close();
    const second = make(Greenroom);
    await second.session.open();
    for (const [name, handler] of listeners.splice(0)) if (name === 'pagehide') handler({ persisted: false });
    const { Greenroom: NextPage } = await import('../src/index.js?next');
    const { followPage } = await import('../src/page.js?next');
    assert.ok(NextPage);
    let restored;
    followPage('http://page', { _machine: { _restore: (saved) => (restored = saved) }, _randomHex: () => 'new' });
    assert.equal(restored?.id, [...service.sessions.keys()].at(-1));
    assert.equal(store.size, 0);
    first.dispose();
    second.dispose();
  } finally {
    for (const name of Object.keys(globals)) delete globalThis[name];
  }
});
