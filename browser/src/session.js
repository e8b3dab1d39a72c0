/** The SessionService: open, close, and who one is (platform: SessionService). */
import { errors } from './errors.js';
import { utf8Length } from './model.js';

const MAX_EXTERNAL_ID_BYTES = 1024;
const LONE_SURROGATE = /[\uD800-\uDFFF]/u;

const checkText = (fields) => {
  for (const name in fields) {
    const value = fields[name] ?? '';
    if (typeof value !== 'string') throw new errors.IllegalArgumentError(`${name} is a string, not ${typeof value}.`);
    if (LONE_SURROGATE.test(value))
      throw new errors.IllegalArgumentError(`${name} has half a surrogate pair in it, which is no character.`);
  }
};

export class SessionService {
  constructor(runner, participants, device) {
    this._runner = runner;
    this._participants = participants;
    this._handlers = {};
    this.device = device;
    runner._onEffect = (name, value) => this._hear(name, value);
  }

  get state() {
    return this._runner._machine.state;
  }

  get participant() {
    return this._runner._machine.participant;
  }

  get scopes() {
    return [...this._runner._machine.scopes];
  }

  async isOpen() {
    return this._runner._machine.isOpen();
  }

  async open(info, { device = this.device, timeout } = {}) {
    const { name, avatarUrl, externalId } = info ?? {};
    checkText({ name, avatarUrl, externalId });
    if (utf8Length(externalId ?? '') > MAX_EXTERNAL_ID_BYTES)
      throw new errors.IllegalArgumentError(`externalId is longer than ${MAX_EXTERNAL_ID_BYTES} bytes of UTF-8.`);
    const machine = this._runner._machine;
    if (externalId && externalId === machine.tokenExternalId)
      console.warn('greenroom: the token has this external id already; leave externalId out of open().');
    return this._runner._call((now, waiter) => machine.open(now, waiter, info, device, timeout));
  }

  async close() {
    await this._runner._call((now, waiter) => this._runner._machine.close(now, waiter));
  }

  async getParticipant() {
    return this._ask((machine, now, waiter) => machine.request(now, waiter, 'session.getParticipant'));
  }

  async updateParticipantInfo(name, avatarUrl, { ifRevision } = {}) {
    checkText({ name, avatarUrl });
    return this._ask((machine, now, waiter) =>
      machine.update(now, waiter, name ?? undefined, avatarUrl ?? undefined, ifRevision),
    );
  }

  onStateChanged(handler) {
    return this._on('stateChanged', handler);
  }

  onEnded(handler) {
    return this._on('sessionEnded', handler);
  }

  onReopened(handler) {
    return this._on('sessionReopened', handler);
  }

  onTokenRefreshFailed(handler) {
    return this._on('tokenRefreshFailed', handler);
  }

  onParticipantUpdated(handler) {
    return this._on('participantUpdated', handler);
  }

  onParticipantsChanged(handler) {
    return this._on('participantsChanged', handler);
  }

  _on(name, handler) {
    if (typeof handler !== 'function') throw new errors.IllegalArgumentError('A handler is a function.');
    const entry = { handler };
    const handlers = (this._handlers[name] ??= new Set());
    handlers.add(entry);
    const off = () => {
      handlers.delete(entry);
    };
    off.remove = off; // as the platform's React Native SDK has it
    return off;
  }

  _ask(put) {
    const machine = this._runner._machine;
    if (!machine.isOpen()) throw new errors.SessionNotOpenError();
    return this._runner._call((now, waiter) => put(machine, now, waiter));
  }

  /** What the machine tells. */
  _hear(name, event) {
    if (event === 'disconnected') this._participants._sessionOver();
    if (name === 'participantsChanged') this._participants._changed(event);
    const value = event.participants ?? (name === 'participantUpdated' ? event.participant : event);
    for (const entry of this._handlers[name] ?? [])
      this._runner._callBack((one) => this._handlers[name].has(entry) && entry.handler(one), value);
  }
}
