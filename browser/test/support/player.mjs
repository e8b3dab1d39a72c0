/** Plays the scenarios of tests/scenarios against this machine; tests/support/scenarios.py does so against Python's. */
import { Buffer } from 'node:buffer';
import { strict as assert } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { ClientSession } from '../../src/client/session.js';
import { classOf, errors } from '../../src/errors.js';
import { LocalRoom } from '../../src/client/rosters.js';
import { SERVICE_UNAVAILABLE } from '../../src/tables.js';
import { peek } from '../../src/client/tokens.js';

const WALL = 1_700_000_000;

export const tokenText = (claims) => {
  // One with an app is the service's; any other is of an application's own issuer.
  const parts = claims.app
    ? [{ alg: 'EdDSA', typ: 'session+jwt', kid: 'k' }, { sub: claims.xid ?? claims.app, ...claims }]
    : [{ alg: 'RS256', typ: 'at+jwt', x5t: 't', kid: 'k' }, claims];
  return [...parts.map((one) => Buffer.from(JSON.stringify(one)).toString('base64url')), 'c2lnbmF0dXJl'].join('.');
};

const toError = (error) => (error.endReason ? { code: error.code, endReason: error.endReason } : { code: error.code });

const plain = (value) => {
  if (value === undefined || value === null) return null;
  if (value instanceof errors.GreenroomError) return toError(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof LocalRoom) {
    const members = [...value._members.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
    const { _name: room, _version: version, _count: count, _isJoined: isJoined } = value;
    return { room, version, count, isJoined, members: members.map(plain) };
  }
  if (value.member) return { id: value.member.id, reason: value.reason };
  if (value.info && value.joinedAt !== undefined) {
    const { id, presence, sessions, joinedAt, availability, info } = value;
    return JSON.parse(JSON.stringify({ id, presence, sessions, joinedAt, availability, ...info }));
  }
  if (value.info && value.presence) {
    const { id, version, revision, presence, availability, info } = value;
    return JSON.parse(JSON.stringify({ id, version, revision, presence, availability, ...info }));
  }
  return value;
};

const toEffect = ({ type, ...rest }) => {
  if (type === 'sendText') {
    const { jsonrpc, ...message } = JSON.parse(rest.data);
    assert.equal(jsonrpc, '2.0');
    return { effect: type, attempt: rest.attempt, message };
  }
  if (type === 'reject') return { effect: type, waiter: rest._waiter, ...toError(rest.error) };
  if (type === 'resolve') return { effect: type, waiter: rest._waiter, result: plain(rest.result) };
  if (type === 'notify') {
    const { type: event, ...fields } = rest.event;
    return { effect: type, event, ...Object.fromEntries(Object.entries(fields).map(([k, v]) => [k, plain(v)])) };
  }
  return { effect: type, ...rest };
};

/** One machine, fed with steps; gives each step's effects in the format of the scenarios. */
class Player {
  now = 0;
  #wallAhead = 0;
  #random = 0;
  #made = 0;

  constructor({ tokens = {}, random = [0.5], settings }) {
    this.tokens = Object.fromEntries(Object.entries(tokens).map(([name, claims]) => [name, tokenText(claims)]));
    this.machine = new ClientSession(
      {
        _random: () => random[this.#random++ % random.length],
        _randomHex: (bytes) => (++this.#made).toString(16).padStart(bytes * 2, '0'),
        _wall: () => WALL + this.now + this.#wallAhead,
        _peek: peek,
        _sdk: { name: 'test', version: '0' },
      },
      Object.fromEntries(Object.entries(settings ?? {}).map(([name, value]) => [`_${name}`, value])),
    );
  }

  play(step) {
    const { at = this.now, late = 0 } = step;
    const due = this.machine._deadline();
    assert.ok(at >= this.now - 1e-9, 'time goes back');
    if (step.do === 'quiet') return this.#quiet(step.until);
    const atDue = step.do === 'tick' || late;
    if (atDue) assert.ok(Math.abs(due + late - at) < 1e-6, `the deadline is ${due}, not ${at - late}`);
    else assert.ok(due === undefined || due >= at - 1e-6, `something is due before, at ${due}`);
    this.now = atDue ? due + late : at;
    this.#inputs[step.do](step);
    return this.machine._effects().map(toEffect);
  }

  /** Nothing but heartbeats until then: pings are answered. */
  #quiet(until) {
    for (;;) {
      const due = this.machine._deadline();
      if (due === undefined || due >= until - 1e-6) break;
      this.now = Math.max(due, this.now);
      this.machine.tick(this.now);
      for (const effect of this.machine._effects()) {
        const sent = toEffect(effect);
        if (sent.message?.method !== 'ping') return [sent];
        const reply = JSON.stringify({ jsonrpc: '2.0', id: sent.message.id, result: {} });
        this.machine.message(this.now, sent.attempt, reply);
      }
    }
    this.now = until;
    return [];
  }

  #token = (value) => (value?.startsWith('@') ? this.tokens[value.slice(1)] : value);
  #ids = ({ ids = [], count = 0 }) => [...ids, ...Array.from({ length: count }, (_, number) => `w${number}`)];

  #inputs = {
    setToken: ({ token, refreshable = false, pasted = false, error }) => {
      const text = this.#token(token) ?? undefined;
      const refused = this.machine._setToken(this.now, pasted ? ` ${text}\r\n` : text, refreshable);
      assert.equal(refused?.reason, error);
    },
    open: ({ waiter, info, device, timeout }) => this.machine.open(this.now, waiter, info, device, timeout),
    cancelOpen: ({ waiter }) => this.machine._cancelOpen(this.now, waiter),
    close: ({ waiter }) => this.machine.close(this.now, waiter),
    update: ({ waiter, name, avatarUrl, ifRevision, attributes }) =>
      this.machine.update(this.now, waiter, name, avatarUrl, ifRevision, attributes),
    setStatus: ({ waiter, status }) => this.machine._setStatus(this.now, waiter, status),
    getParticipant: ({ waiter }) => this.machine.request(this.now, waiter, 'session.getParticipant'),
    watch: (step) =>
      this.machine
        ._participantRequests(this.#ids(step), step.externalIds ?? [])
        .forEach((params, number) =>
          this.machine.request(this.now, step.waiter + number, 'participants.watch', params),
        ),
    get: (step) =>
      this.machine.request(this.now, step.waiter, 'participants.get', {
        ids: this.#ids(step),
        externalIds: step.externalIds,
      }),
    unwatch: (step) => this.machine.unwatch(this.now, step.waiter, { ids: this.#ids(step) }),
    joinRoom: ({ waiter, room }) => this.machine._joinRoom(this.now, waiter, room),
    leaveRoom: ({ waiter, room }) => this.machine._leaveRoom(this.now, waiter, room),
    watchRoom: ({ waiter, room }) => this.machine._watchRoom(this.now, waiter, room),
    unwatchRoom: ({ waiter, room }) => this.machine._unwatchRoom(this.now, waiter, room),
    sendToRoom: ({ waiter, room, message, to }) => this.machine._sendToRoom(this.now, waiter, room, message, to),
    answerInvitation: ({ waiter, invitation, accept }) =>
      this.machine._answerInvitation(this.now, waiter, invitation, accept),
    cancelRequest: ({ waiter }) => this.machine._cancelRequest(this.now, waiter),
    dialed: ({ attempt }) => this.machine._dialed(this.now, attempt),
    dialFailed: ({ attempt, code = SERVICE_UNAVAILABLE, retryAfter }) =>
      this.machine._dialFailed(this.now, attempt, new (classOf(code))(undefined, { code }), retryAfter),
    lost: ({ attempt, code, reason }) => this.machine.lost(this.now, attempt, code, reason),
    message: ({ attempt, message }) =>
      this.machine.message(
        this.now,
        attempt,
        typeof message === 'string' ? message : JSON.stringify({ jsonrpc: '2.0', ...message }),
      ),
    token: ({ number, token, fails }) =>
      this.machine.token(this.now, number, fails ? new errors.TokenRefreshError('as scripted') : this.#token(token)),
    restore: ({ saved }) => this.machine._restore(saved),
    online: () => this.machine.online(this.now),
    offline: () => this.machine.offline(this.now),
    wake: () => this.machine.wake(this.now),
    sleep: ({ seconds }) => {
      this.#wallAhead += seconds;
    },
    tick: () => this.machine.tick(this.now),
  };
}

/** Compares effects with what a scenario expects of them; see tests/scenarios/README.md. */
class Matcher {
  #bound = new Map();

  constructor(tokens) {
    this.tokens = tokens;
  }

  fits(expected, actual) {
    if (typeof expected === 'string' && expected[0] === '$') return this.#bind(expected, actual);
    if (typeof expected === 'string' && expected[0] === '@') return this.tokens[expected.slice(1)] === actual;
    if (Array.isArray(expected))
      return (
        Array.isArray(actual) &&
        actual.length === expected.length &&
        expected.every((one, place) => this.fits(one, actual[place]))
      );
    if (expected && typeof expected === 'object')
      return (
        !!actual &&
        typeof actual === 'object' &&
        Object.entries(expected).every(([name, one]) => name in actual && this.fits(one, actual[name]))
      );
    return expected === actual;
  }

  #bind(name, actual) {
    if (this.#bound.has(name)) return this.#bound.get(name) === actual;
    if ([...this.#bound.values()].includes(actual)) return false;
    this.#bound.set(name, actual);
    return true;
  }

  filled(value) {
    if (typeof value === 'string' && value[0] === '$') return this.#bound.get(value);
    if (Array.isArray(value)) return value.map((one) => this.filled(one));
    if (value && typeof value === 'object')
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, this.filled(one)]));
    return value;
  }
}

const folder = new URL('../../../tests/scenarios/', import.meta.url);

/** All scenarios. */
export const scenarios = () =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(new URL(name, folder), 'utf8')));

/** Play all steps; throws at the first that does not do what is expected. look(machine): after each. */
export const play = (scenario, look = () => {}) => {
  const player = new Player(scenario);
  const matcher = new Matcher(player.tokens);
  scenario.steps.forEach(({ expect = [], ...inputs }, number) => {
    const effects = player.play(matcher.filled(inputs));
    look(player.machine);
    const where = `${scenario.name}, step ${number} (${inputs.do} at ${inputs.at})`;
    const shown = effects.map((one) => `\n  ${JSON.stringify(one).slice(0, 400)}`).join('');
    assert.equal(effects.length, expect.length, `${where}: ${effects.length} effects, not ${expect.length}:${shown}`);
    expect.forEach((wanted, place) =>
      assert.ok(
        matcher.fits(wanted, effects[place]),
        `${where}, effect ${place}: ${JSON.stringify(effects[place])} is not ${JSON.stringify(wanted)}`,
      ),
    );
  });
  if (scenario.ends) {
    assert.equal(player.machine.state, scenario.ends.state);
    assert.equal(player.machine.isOpen(), scenario.ends.isOpen);
  }
};
