/** The SessionService: open, close, and who one is (platform: SessionService). */
import { checkAttributes, checkMembers, checkText } from './arguments.js';

const INFO = ['name', 'avatarUrl', 'externalId', 'attributes'];

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
    const { name, avatarUrl, externalId, attributes } = checkMembers('info', info, INFO, example);
    const { device, timeout } = checkMembers('options', options, ['device', 'timeout'], '{ timeout: 10 }');
    checkMembers('device', device, ['id', 'name'], "{ id: 'laptop' }");
    checkText({ name, avatarUrl, externalId });
    checkAttributes(attributes);
    const machine = this._runner._machine;
    if (externalId && externalId === machine._tokenExternalId)
      console.warn('greenroom: leave externalId out of open(), the token has it.');
    const participant = await this._runner._call((now, waiter) =>
      machine.open(now, waiter, info, device ?? this.device ?? undefined, timeout),
    );
    if (attributes && !machine._has('attributes'))
      console.warn('greenroom: the service is older than this SDK: it has no attributes, and ignored those of open().');
    return participant;
  }

  async close() {
    await this._runner._call((now, waiter) => this._runner._machine.close(now, waiter));
  }

  async getParticipant() {
    return this._ask((machine, now, waiter) => machine.request(now, waiter, 'session.getParticipant'));
  }

  /** (name, avatarUrl, options), or ({ name, avatarUrl, attributes }, options). */
  async updateParticipantInfo(given, ...rest) {
    const isObject = given !== null && typeof given === 'object';
    const [avatar, options] = isObject ? [undefined, ...rest] : rest;
    const changes = isObject ? given : { name: given, avatarUrl: avatar };
    const { name, avatarUrl, attributes } = checkMembers('info', changes, ['name', 'avatarUrl', 'attributes'], "{ name: 'Anna' }");
    const { ifRevision } = checkMembers('options', options, ['ifRevision'], '{ ifRevision: 1 }');
    checkText({ name, avatarUrl });
    checkAttributes(attributes);
    return this._ask((machine, now, waiter) =>
      machine.update(now, waiter, name ?? undefined, avatarUrl ?? undefined, ifRevision ?? undefined, attributes ?? undefined),
    );
  }

  get status() {
    return this._runner._machine._status;
  }

  async setStatus(status) {
    checkText({ status: status ?? 0 });
    return this._ask((machine, now, waiter) => machine._setStatus(now, waiter, status));
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
