/** The SessionService: open, close, and who one is (platform: SessionService). */
import { checkMembers, checkText } from './arguments.js';

const INFO = ['name', 'avatarUrl', 'externalId'];

export class SessionService {
  constructor(runner, notifier, device) {
    this._runner = runner;
    this._notifier = notifier;
    this.device = device;
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

  async open(info, options) {
    const example = `{ name: '${typeof info === 'string' ? info : 'Anna'}' }`;
    const { name, avatarUrl, externalId } = checkMembers('info', info, INFO, example);
    const { device, timeout } = checkMembers('options', options, ['device', 'timeout'], '{ timeout: 10 }');
    checkMembers('device', device, ['id', 'name'], "{ id: 'laptop' }");
    checkText({ name, avatarUrl, externalId });
    const machine = this._runner._machine;
    if (externalId && externalId === machine._tokenExternalId)
      console.warn('greenroom: leave externalId out of open(), the token has it.');
    return this._runner._call((now, waiter) => machine.open(now, waiter, info, device ?? this.device ?? undefined, timeout));
  }

  async close() {
    await this._runner._call((now, waiter) => this._runner._machine.close(now, waiter));
  }

  async getParticipant() {
    return this._ask((machine, now, waiter) => machine.request(now, waiter, 'session.getParticipant'));
  }

  async updateParticipantInfo(name, avatarUrl, options) {
    const { ifRevision } = checkMembers('options', options, ['ifRevision'], '{ ifRevision: 1 }');
    checkText({ name, avatarUrl });
    return this._ask((machine, now, waiter) =>
      machine.update(now, waiter, name ?? undefined, avatarUrl ?? undefined, ifRevision ?? undefined),
    );
  }

  onStateChanged(handler) {
    return this._notifier._on('stateChanged', handler);
  }

  onEnded(handler) {
    return this._notifier._on('sessionEnded', handler);
  }

  onReopened(handler) {
    return this._notifier._on('sessionReopened', handler);
  }

  onTokenRefreshFailed(handler) {
    return this._notifier._on('tokenRefreshFailed', handler);
  }

  onParticipantUpdated(handler) {
    return this._notifier._on('participantUpdated', handler);
  }

  onParticipantsChanged(handler) {
    return this._notifier._on('participantsChanged', handler);
  }

  _ask(put) {
    const machine = this._runner._machine;
    if (!machine.isOpen()) throw machine._notOpenError();
    return this._runner._call((now, waiter) => put(machine, now, waiter));
  }
}
