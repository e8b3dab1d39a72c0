/** Passes what the machine reports to the app: to its handlers, and to those who watch participants. */

/** Run a callback of the app: in order, outside of the machine's inputs. What it throws is logged and goes no further. */
export const callBack = (handler, ...values) => {
  Promise.resolve()
    .then(() => handler(...values))
    .catch((error) => console.error('greenroom: a callback threw', error));
};

export class Notifier {
  constructor() {
    this._handlers = {};
    this._watches = [];
  }

  /** Add a handler. Returns what removes it. */
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

  _report(name, event) {
    if (event === 'disconnected') for (const watch of this._watches.splice(0)) watch._finish();
    if (name === 'participantsChanged')
      for (const participant of event.participants) for (const watch of [...this._watches]) watch._update(participant);
    const value = event.participants ?? (name === 'participantUpdated' ? event.participant : event);
    for (const entry of this._handlers[name] ?? [])
      callBack((one) => this._handlers[name].has(entry) && entry.handler(one), value);
  }
}
