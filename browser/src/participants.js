/** Looking participants up, and watching them. */
import { splitWho } from './arguments.js';
import { Watch } from './watch.js';

/** Needs an open session, and the session scope `notifications:set`. */
export class ParticipantsService {
  constructor(runner, notifier) {
    this._runner = runner;
    this._notifier = notifier;
    /** One for each watch that is being asked for; fulfilled when it is answered. */
    this._asking = new Set();
  }

  async get(who) {
    return this._request('participants.get', ...splitWho(who));
  }

  async watch(who, onChange) {
    const { _machine } = this._runner;
    let answered;
    const asking = new Promise((resolve) => (answered = resolve));
    this._asking.add(asking);
    try {
      const found = await this._request('participants.watch', ...splitWho(who));
      // A record may have changed between its reply and now.
      const latest = found.map((one) => _machine._watchedParticipant(one.id) ?? one);
      const watch = new Watch(latest, onChange, (one) => this._end(one));
      if (_machine.isOpen()) this._notifier._watches.push(watch);
      else watch._finish();
      return watch;
    } finally {
      this._asking.delete(asking);
      answered();
    }
  }

  async unwatch(who) {
    const [ids, externalIds] = splitWho(who);
    this._openMachine();
    // A participant who was never here has an id, but no external id in its record.
    if (externalIds.length)
      for (const { id } of await this._request('participants.get', [], externalIds)) ids.push(id);
    for (const watch of [...this._notifier._watches]) {
      watch._remove(ids);
      if (!watch._latest.size) this._drop(watch);
    }
    await this._unwatch(ids);
  }

  _openMachine() {
    const machine = this._runner._machine;
    if (!machine.isOpen()) throw machine._notOpenError();
    return machine;
  }

  _drop(watch) {
    this._notifier._watches = this._notifier._watches.filter((one) => one !== watch);
    watch._finish();
  }

  /** The end of one watch. Participants that another watch has stay watched for it. */
  async _end(watch) {
    const isKnown = this._notifier._watches.includes(watch);
    this._drop(watch);
    // One that is being asked for may be of the same participants.
    while (this._asking.size) await Promise.all(this._asking);
    const others = this._notifier._watches;
    const unwatched = [...watch._latest.keys()].filter((id) => !others.some((one) => one._latest.has(id)));
    if (isKnown && unwatched.length && this._runner._machine.isOpen())
      await this._unwatch(unwatched);
  }

  async _request(method, ids, externalIds) {
    const machine = this._openMachine();
    const found = new Map();
    for (const params of machine._participantRequests(ids, externalIds)) {
      const records = await this._runner._call((now, waiter) => machine.request(now, waiter, method, params));
      for (const one of records) found.set(one.id, one);
    }
    return [...found.values()];
  }

  async _unwatch(ids) {
    const { _machine } = this._runner;
    try {
      for (const params of _machine._participantRequests(ids, []))
        await this._runner._call((now, waiter) => _machine.unwatch(now, waiter, params));
    } catch {
      // The machine reports no changes of these either way; the service forgets them with the session.
    }
  }
}
