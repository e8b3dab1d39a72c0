/** The page after a reload (S20): what only the browser SDK has, and so no scenario of both SDKs. */
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { ClientSession } from '../src/client/session.js';
import { peek } from '../src/client/tokens.js';
import { tokenText } from './support/player.mjs';

const WALL = 1_700_000_000;
const claims = { app: 'app', xid: 'ada', iat: WALL, exp: WALL + 3600 };
const result = (id, generation = 1) => ({
  session: { id, generation, grace: 40, expiresAt: 0 },
  participant: { id: 'p-ada', revision: 0, version: 1, presence: 'online', sessions: 1, lastSeen: null },
  scopes: ['*'],
});

/** A page: a machine with a token, and what it was asked to do since it was last asked. */
const page = (made = 'a', token = claims) => {
  let now = 0;
  let count = 0;
  const machine = new ClientSession({
    _random: () => 0.5,
    _randomHex: (bytes) => `${made}${(count += 1)}`.padStart(bytes * 2, '0'),
    _wall: () => WALL + now,
    _peek: peek,
    _sdk: {},
  });
  machine._setToken(0, tokenText(token), true);
  const done = () =>
    machine._effects().map((effect) => (effect.data ? { ...effect, message: JSON.parse(effect.data) } : effect));
  const hello = (attempt) => {
    machine._dialed(now, attempt);
    return done().find((effect) => effect.type === 'sendText').message;
  };
  const answer = (attempt, id, body) => {
    machine.message(now, attempt, JSON.stringify({ jsonrpc: '2.0', id, ...body }));
    return done();
  };
  return { machine, done, hello, answer, at: (when) => (now = when) };
};

/** What a page with an open session leaves, as JSON carries it. */
const left = (info = { name: 'Ada' }) => {
  const { machine, done, hello, answer } = page();
  machine.open(0, 1, info);
  done();
  const { id, params } = hello(1);
  answer(1, id, { result: result('s1') });
  return { saved: JSON.parse(JSON.stringify(machine._snapshot())), secret: params.resumeSecret };
};

const restored = (saved, info = { name: 'Ada' }, token = claims) => {
  const next = page('b', token);
  next.machine._restore(saved);
  next.machine.open(0, 1, info, { id: 'tab' });
  next.done();
  return next;
};

test('the next page resumes the session, and open resolves with the participant', () => {
  const { saved, secret } = left();
  const { machine, hello, answer } = restored(saved);
  const { id, method, params } = hello(1);
  assert.equal(method, 'session.resume');
  assert.deepEqual([params.sessionId, params.resumeSecret, params.attempt], ['s1', secret, 1]);
  assert.equal(params.token, tokenText(claims));
  const effects = answer(1, id, { result: result('s1', 2) });
  assert.deepEqual(
    effects.map((effect) => effect.type),
    ['stateChanged', 'resolve', 'sendText'],
  );
  assert.equal(effects[1].result.id, 'p-ada');
  assert.equal(machine._snapshot().secrets[0], params.nextSecret);
  // Lost later, it resumes with the next attempt.
  machine.lost(0, 1, 1006);
  machine.tick(0.1);
  assert.equal(hello(2).params.attempt, 2);
});

test('a session that is gone is replaced by a new one on the same connection', () => {
  for (const error of [{ code: -32007 }, { code: -32058 }, { code: -32064 }, { code: -32057, data: { endReason: 'kicked' } }]) {
    const { hello, answer } = restored(left().saved);
    const effects = answer(1, hello(1).id, { error: { message: 'no', ...error } });
    const { message } = effects.find((effect) => effect.type === 'sendText');
    assert.equal(message.method, 'session.open');
    assert.equal(message.params.device.id, 'tab');
    assert.ok(answer(1, message.id, { result: result('s2') }).some((effect) => effect.type === 'resolve'));
  }
});

test('what may go away by itself is tried again with the same secret', () => {
  const { machine, hello, answer, done } = restored(left().saved);
  const first = hello(1);
  answer(1, first.id, { error: { code: -32006, message: 'soon' } });
  machine.tick(machine._deadline());
  done();
  const again = hello(2);
  assert.equal(again.method, 'session.resume');
  assert.equal(again.params.attempt, 2);
  assert.equal(again.params.nextSecret, first.params.nextSecret);
});

test('a final close while resuming is followed by an open', () => {
  const { machine, hello, done } = restored(left().saved);
  hello(1);
  machine.lost(0, 1, 4503);
  assert.deepEqual(done(), [{ type: 'dial', attempt: 2 }]);
  assert.equal(hello(2).method, 'session.open');
});

test('other info, another participant or another application: a new session', () => {
  const { saved } = left();
  for (const [info, token] of [
    [{ name: 'Eve' }, claims],
    [{ name: 'Ada' }, { ...claims, xid: 'eve' }],
    [{ name: 'Ada' }, { ...claims, app: 'other' }],
  ])
    assert.equal(restored(saved, info, token).hello(1).method, 'session.open');
});

test('a resume that was on its way leaves both secrets', () => {
  const { saved } = left();
  const { machine, hello } = restored(saved);
  const { params } = hello(1);
  const again = JSON.parse(JSON.stringify(machine._snapshot()));
  assert.deepEqual(again.secrets, [params.resumeSecret, params.nextSecret]);
  const next = restored(again).hello(1).params;
  assert.deepEqual([next.resumeSecret, next.nextSecret, next.attempt], [params.resumeSecret, params.nextSecret, 2]);
});

test('a page that was never opened hands on what it found', () => {
  const { saved } = left();
  const { machine } = page('b');
  machine._restore(saved);
  assert.deepEqual(machine._snapshot(), saved);
});

test('close while resuming ends the session that was there', () => {
  const { machine, hello, done } = restored(left().saved);
  const { params } = hello(1);
  machine.close(0, 2);
  const effects = done();
  assert.ok(effects.some((effect) => effect.type === 'disconnect' && effect.code === 4000));
  assert.deepEqual(
    effects.find((effect) => effect.type === 'dial'),
    { type: 'dial', attempt: 2 },
  );
  const goodbye = hello(2);
  assert.equal(goodbye.method, 'session.close');
  assert.deepEqual(goodbye.params, { sessionId: 's1', resumeSecret: params.resumeSecret });
});
