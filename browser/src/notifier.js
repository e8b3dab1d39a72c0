/** Passes what the machine reports to the app: to its handlers, to those who watch participants, and to rooms. */

/** Run a callback of the app: in order, outside of the machine's inputs. What it throws is logged and goes no further. */
export const callBack = (handler, ...values) => {
  Promise.resolve()
    .then(() => handler(...values))
    .catch((error) => console.error('greenroom: a callback threw', error));
};

/** Handlers of an app by the name of what they are for. */
export class Handlers {
  constructor() {
    this._byName = {};
  }

  /** Add a handler. Returns what removes it. */
  _on(name, handler) {
    const entry = { handler };
    const handlers = (this._byName[name] ??= new Set());
    handlers.add(entry);
    const off = () => {
      handlers.delete(entry);
    };
    off.remove = off; // as the platform's React Native SDK has it
    return off;
  }

  /** Those who were removed meanwhile are not called. */
  _call(name, ...values) {
    const handlers = this._byName[name] ?? [];
    for (const entry of handlers) callBack((...given) => handlers.has(entry) && entry.handler(...given), ...values);
  }
}

export class Notifier {
  constructor() {
    this._handlers = new Handlers();
    this._watches = [];
    this._rooms = new Set();
  }

  _on(name, handler) {
    return this._handlers._on(name, handler);
  }

  _report(name, event) {
    if (event === 'disconnected') {
      for (const watch of this._watches.splice(0)) watch._finish();
      for (const room of [...this._rooms]) room._sessionOver();
    }
    if (name === 'participantsChanged')
      for (const participant of event.participants) for (const watch of [...this._watches]) watch._update(participant);
    for (const room of [...this._rooms]) if (room.name === event.room) room._report(name, event);
    const value = event.participants ?? event.invitation ?? (name === 'participantUpdated' ? event.participant : event);
    this._handlers._call(name, value);
  }
}
