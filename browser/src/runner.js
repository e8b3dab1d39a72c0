/** The shell around the machine: carries out its effects, and owns its timer and connections. It decides nothing. */
import { ClientSession } from './client/session.js';
import { errors } from './errors.js';
import { LATE } from './tables.js';
import { peek } from './client/tokens.js';
import { connect } from './transport.js';

/** Seconds. After a sleep the wall clock says what the timer's does not. */
const LONGEST_WAIT = 60;

const fill = (bytes) => {
  if (!globalThis.crypto?.getRandomValues)
    throw new errors.IllegalArgumentError('There is no crypto here.', {
      hint: 'Import react-native-get-random-values first.',
    });
  return globalThis.crypto.getRandomValues(bytes);
};

export class Runner {
  constructor(base, { webSocket, getRandomValues = fill }, notifier) {
    this._base = base;
    this._notifier = notifier;
    this._webSocket = webSocket;
    this._sockets = new Map();
    this._waiters = new Map();
    this._lastWaiter = 0;
    // Later: _refresh, _timer, _pumping.
    this._randomHex = (count) =>
      [...getRandomValues(new Uint8Array(count))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    this._machine = new ClientSession({
      _random: Math.random,
      _randomHex: this._randomHex,
      _wall: () => Date.now() / 1000,
      _peek: peek,
      _sdk: { name: 'greenroom-js', version: typeof VERSION === 'undefined' ? '' : VERSION },
    });
  }

  /** The machine's clock: seconds. */
  _now() {
    return performance.now() / 1000;
  }

  /** token: undefined where the first is requested from `refresh`. Throws. */
  _setToken(token, refresh) {
    const error = this._machine._setToken(this._now(), token, !!refresh);
    if (error) throw error;
    this._refresh = refresh;
    this._pump();
  }

  /** Give the machine a request: put(now, waiter). The promise of its result. */
  _call(put) {
    return new Promise((resolve, reject) => {
      this._waiters.set(++this._lastWaiter, { resolve, reject });
      this._input(put, this._lastWaiter);
    });
  }

  /** The caller waits no longer. */
  _cancel(waiter, reason) {
    this._waiters.get(waiter)?.reject(reason);
    this._waiters.delete(waiter);
    this._input((now) => this._machine._cancelRequest(now, waiter));
  }

  /** Give the machine an input, and carry out its effects. */
  _input(put, ...rest) {
    put(this._now(), ...rest);
    this._pump();
  }

  _pump() {
    if (this._pumping) return;
    this._pumping = true;
    try {
      for (let effects; (effects = this._machine._effects()).length; ) effects.forEach((effect) => this._apply(effect));
    } finally {
      this._pumping = false;
    }
    clearTimeout(this._timer);
    const due = this._machine._deadline();
    if (due === undefined) return;
    const now = this._now();
    const wait = Math.min(Math.max(0, due - now), LONGEST_WAIT);
    const tick = () => this._input((at) => this._machine.tick(at));
    this._timer = setTimeout(() => {
      // The page was frozen: what has arrived meanwhile is read first.
      if (this._now() > now + wait + LATE) this._timer = setTimeout(tick, 50);
      else tick();
    }, wait * 1000);
  }

  _apply(effect) {
    const { type, attempt, _waiter: waiter } = effect;
    const socket = this._sockets.get(attempt);
    const caller = this._waiters.get(waiter);
    switch (type) {
      case 'sendText':
        // What is sent into a connection that is ending is lost, and sent again on the next.
        if (socket?.readyState === 1) socket.send(effect.data);
        break;
      case 'dial':
        this._dial(attempt);
        break;
      case 'disconnect':
        this._sockets.delete(attempt);
        socket?.close(effect.code);
        break;
      case 'requestToken':
        this._requestToken(effect);
        break;
      case 'resolve':
      case 'reject':
        this._waiters.delete(waiter);
        if (type === 'resolve') caller?.resolve(effect.result);
        else caller?.reject(effect.error);
        break;
      case 'stateChanged':
        this._notifier._report('stateChanged', effect.state);
        break;
      case 'notify':
        this._notifier._report(effect.event.type, effect.event);
    }
  }

  _dial(attempt) {
    const machine = this._machine;
    // A late event of a socket that was hung up finds that its attempt is over.
    const end = (put) => {
      this._sockets.delete(attempt);
      this._input(put);
    };
    try {
      this._sockets.set(
        attempt,
        connect(this._base, this._webSocket ?? globalThis.WebSocket, {
          _dialed: () => this._input((now) => machine._dialed(now, attempt)),
          _message: (text) => this._input((now) => machine.message(now, attempt, text)),
          _failed: (error) => end((now) => machine._dialFailed(now, attempt, error)),
          _lost: (code, reason) => end((now) => machine.lost(now, attempt, code, reason)),
        }),
      );
    } catch (error) {
      machine._dialFailed(this._now(), attempt, error);
    }
  }

  async _requestToken({ number, isExpired }) {
    let answer;
    try {
      answer = await this._refresh?.(isExpired);
    } catch (error) {
      answer = error instanceof Error ? error : new Error(String(error));
    }
    this._input((now) => this._machine.token(now, number, answer));
  }
}
