/** The machine's state, and the effects that its shell has not carried out yet. */
import { TRANSITIONS } from '../tables.js';

/** Shared by all parts of one machine: effects leave in the order in which the parts emitted them. */
export class Output {
  constructor() {
    this.state = 'disconnected';
    this._effects = [];
  }

  _emit(...effects) {
    this._effects.push(...effects);
  }

  _notify(event) {
    this._emit({ type: 'notify', event });
  }

  _resolve(waiter, result) {
    if (waiter !== undefined) this._emit({ type: 'resolve', _waiter: waiter, result });
  }

  _reject(waiter, error) {
    if (waiter !== undefined) this._emit({ type: 'reject', _waiter: waiter, error });
  }

  /** The only method that changes the state. */
  _apply(event) {
    const state = TRANSITIONS[this.state][event];
    if (state && state !== this.state) {
      this.state = state;
      this._emit({ type: 'stateChanged', state });
    }
  }

  /** The effects since the last call. */
  _take() {
    return this._effects.splice(0);
  }
}
