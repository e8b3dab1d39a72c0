/** Who is there: looking participants up, and watching them. */
import { errors } from './errors.js';

const list = (value) => {
  const all = [...new Set(typeof value === 'string' ? [value] : (value ?? []))];
  if (!all.every((one) => typeof one === 'string' && one && !/[\uD800-\uDFFF]/u.test(one)))
    throw new errors.IllegalArgumentError("A participant's id is a string that is not empty.");
  return all;
};

/** Ids, or { ids, externalIds }. */
const split = (who) =>
  typeof who === 'string' || Array.isArray(who) ? [list(who), []] : [list(who?.ids), list(who?.externalIds)];

/** Some participants, and how they change: an async iterator of changes. State, not messages. */
class Watch {
  constructor(service, participants, onChange) {
    this._service = service;
    this._onChange = onChange;
    this._latest = new Map(participants.map((one) => [one.id, one]));
    this._news = new Map();
    this._next = [];
    this._over = false;
  }

  get participants() {
    return [...this._latest.values()];
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    return new Promise((resolve) => {
      this._next.push(resolve);
      this._feed();
    });
  }

  async return() {
    await this.close();
    return { done: true, value: undefined };
  }

  close() {
    return this._service._end(this);
  }

  _feed() {
    while (this._next.length && (this._news.size || this._over)) {
      const [first] = this._news;
      if (first) this._news.delete(first[0]);
      this._next.shift()(first ? { done: false, value: first[1] } : { done: true, value: undefined });
    }
  }

  _take(participant) {
    const { id } = participant;
    if (!this._latest.has(id) || this._over) return;
    this._latest.set(id, participant);
    if (this._onChange) this._service._runner._callBack(this._onChange, participant);
    this._news.delete(id);
    this._news.set(id, participant);
    this._feed();
  }

  _finish() {
    this._over = true;
    this._feed();
  }
}

/** Needs an open session, and the session scope `notifications:set`. */
export class ParticipantsService {
  constructor(runner) {
    this._runner = runner;
    this._watches = [];
  }

  async get(who) {
    return this._request('participants.get', ...split(who));
  }

  async watch(who, onChange) {
    const watch = new Watch(this, await this._request('participants.watch', ...split(who)), onChange);
    if (this._runner._machine.isOpen()) this._watches.push(watch);
    else watch._finish();
    return watch;
  }

  async unwatch(who) {
    const [ids, externalIds] = split(who);
    this._machine();
    for (const watch of [...this._watches]) {
      for (const { id, info } of watch.participants)
        if (ids.includes(id) || externalIds.includes(info.externalId)) {
          watch._latest.delete(id);
          watch._news.delete(id);
        }
      if (!watch._latest.size) this._drop(watch);
    }
    await this._unwatch(ids, externalIds);
  }

  _machine() {
    const machine = this._runner._machine;
    if (!machine.isOpen()) throw new errors.SessionNotOpenError();
    return machine;
  }

  _drop(watch) {
    this._watches = this._watches.filter((one) => one !== watch);
    watch._finish();
  }

  /** The end of one watch; those whom another holds stay watched for it. */
  async _end(watch) {
    const held = this._watches.includes(watch);
    this._drop(watch);
    const alone = [...watch._latest.keys()].filter((id) => !this._watches.some((one) => one._latest.has(id)));
    if (held && alone.length && this._runner._machine.isOpen()) await this._unwatch(alone, []);
  }

  _changed({ participants }) {
    for (const participant of participants) for (const watch of [...this._watches]) watch._take(participant);
  }

  /** After a close or an end nothing is watched. */
  _sessionOver() {
    for (const watch of this._watches.splice(0)) watch._finish();
  }

  async _request(method, ids, externalIds) {
    const machine = this._machine();
    const found = new Map();
    for (const params of machine._participantRequests(ids, externalIds)) {
      const answer = await this._runner._call((now, waiter) => machine.request(now, waiter, method, params));
      for (const one of answer) found.set(one.id, one);
    }
    return [...found.values()];
  }

  async _unwatch(ids, externalIds) {
    const { _machine } = this._runner;
    try {
      for (const params of _machine._participantRequests(ids, externalIds))
        await this._runner._call((now, waiter) => _machine.unwatch(now, waiter, params));
    } catch {
      // Nothing more is told of them here either way; with the session the service forgets them too.
    }
  }
}
