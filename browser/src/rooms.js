/** Rooms: opening, joining and watching them, and invitations to them. */
import { checkEvent, checkMembers, checkText } from './arguments.js';
import { errors } from './errors.js';
import { Room } from './room.js';
import { NOT_FOUND } from './tables.js';

const checkName = (name) => {
  if (!name) throw new errors.IllegalArgumentError('The name of a room must be a string that is not empty.');
  checkText({ name });
};

const EVENTS = { invited: 'roomInvited', answered: 'roomInvitationAnswered' };

/** Needs an open session. */
export class RoomsService {
  constructor(runner, notifier) {
    this._runner = runner;
    this._notifier = notifier;
  }

  get invitations() {
    return this._machine._invitations(this._runner._now());
  }

  get joined() {
    return this._machine._joinedRooms().map((local) => this._roomOf(local, true));
  }

  on(name, handler) {
    checkEvent('rooms', name, Object.keys(EVENTS));
    return this._notifier._on(EVENTS[name], handler);
  }

  async create(name, options) {
    checkName(name);
    const { ttl, detailed } = checkMembers('options', options, ['ttl', 'detailed'], '{ ttl: 60 }');
    const params = { room: name, ttl: ttl ?? undefined, detailed: detailed ?? undefined };
    return this._request('rooms.create', params);
  }

  join(name, options) {
    return this._enter(name, true, options);
  }

  watch(name, options) {
    return this._enter(name, false, options);
  }

  async find(roomId) {
    checkText({ roomId: roomId ?? 0 });
    return this._request('rooms.find', { roomId });
  }

  /** Says so to the inviter, unless the invitation is past its time, and joins the room. */
  async accept(invitation) {
    await this._answer(invitation?.id, true).catch((error) => {
      if (error.code !== NOT_FOUND) throw error;
    });
    return this.join(invitation.room);
  }

  async decline(invitation) {
    await this._answer(invitation?.id, false);
  }

  get _machine() {
    return this._runner._machine;
  }

  _openMachine() {
    const machine = this._machine;
    if (!machine.isOpen()) throw machine._notOpenError();
    return machine;
  }

  /** put(machine, now, waiter). The promise of its result. */
  async _call(put) {
    const machine = this._openMachine();
    return this._runner._call((now, waiter) => put(machine, now, waiter));
  }

  _request(method, params) {
    return this._call((machine, now, waiter) => machine._roomRequest(now, waiter, method, params));
  }

  async _answer(id, accept) {
    checkText({ 'invitation.id': id ?? 0 });
    await this._call((machine, now, waiter) => machine._answerInvitation(now, waiter, id, accept));
  }

  /** The same Room for the same room, as long as it is open. */
  async _enter(name, isJoined, options) {
    checkName(name);
    const { signal } = checkMembers('options', options, ['signal'], '{ signal }');
    signal?.throwIfAborted();
    this._openMachine();
    const asked = this._call((machine, now, waiter) =>
      isJoined ? machine._joinRoom(now, waiter, name) : machine._watchRoom(now, waiter, name),
    );
    const waiter = this._runner._lastWaiter;
    const cancel = () => this._runner._cancel(waiter, signal.reason);
    signal?.addEventListener('abort', cancel);
    return this._roomOf(await asked.finally(() => signal?.removeEventListener('abort', cancel)), isJoined);
  }

  _roomOf(local, isJoined) {
    const { _rooms } = this._notifier;
    const before = [..._rooms].find((one) => one._local === local && one._isJoined === isJoined);
    if (before) return before;
    const room = new Room(this._runner, this, local._name, isJoined, local);
    // It may be over already: between the reply and now the session has ended, or someone was kicked.
    if ((isJoined ? local._isJoined : local._isWatched) && this._machine.isOpen()) _rooms.add(room);
    else room._close({ reason: 'lost' });
    return room;
  }

  _forget(room) {
    this._notifier._rooms.delete(room);
  }

  /** Notify the service. No caller waits for a failure: the machine keeps trying. */
  async _end({ name, _isJoined }) {
    await this._call((machine, now, waiter) =>
      _isJoined ? machine._leaveRoom(now, waiter, name) : machine._unwatchRoom(now, waiter, name),
    ).catch(() => {});
  }
}
