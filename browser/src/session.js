/** The SessionService: open, close, and who one is (platform: SessionService). */
import { errors } from './errors.js';

/** Strings without half surrogate pairs, which no JSON can carry. What else may be wrong the service says. */
const checkText = (fields) => {
  for (const name in fields) {
    const value = fields[name] ?? '';
    if (typeof value !== 'string' || /[\uD800-\uDFFF]/u.test(value))
      throw new errors.IllegalArgumentError(`${name} is not a string.`);
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
    const machine = this._runner._machine;
    if (externalId && externalId === machine._tokenExternalId)
      console.warn('greenroom: leave externalId out of open(), the token has it.');
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
