/** @greenroom/client: the front door. Types are in index.d.ts. */
import { checkMembers } from './arguments.js';
import { followUse } from './away.js';
import { errors, GreenroomError } from './errors.js';
import { Notifier } from './notifier.js';
import { followPage } from './page.js';
import { ParticipantsService } from './participants.js';
import { RoomsService } from './rooms.js';
import { Runner } from './runner.js';
import { SessionService } from './session.js';
import { fetchToken, serviceBase } from './transport.js';

export class Greenroom {
  constructor(url, given) {
    const base = serviceBase(url);
    const options = checkMembers('options', given, ['device', 'webSocket', 'getRandomValues', 'autoAway'], '{ device }');
    const notifier = new Notifier();
    this._base = base;
    this._runner = new Runner(base, options, notifier);
    const { device, stop } = followPage(base, this._runner);
    this.participants = new ParticipantsService(this._runner, notifier);
    this.rooms = new RoomsService(this._runner, notifier);
    this.session = new SessionService(this._runner, notifier, options.device ?? device);
    const { autoAway } = options;
    if (autoAway !== true) checkMembers('autoAway', autoAway || undefined, ['hidden', 'idle'], '{ hidden: 60, idle: 300 }');
    const stopUse = followUse(this.session, autoAway);
    this._stop = () => {
      stop?.();
      stopUse?.();
    };
  }

  initializeToken(token, refresh) {
    if (refresh != null && typeof refresh !== 'function')
      throw new errors.IllegalArgumentError(`refresh must be a function that takes isExpired, not a ${typeof refresh}.`, {
        hint: 'Pass the function itself, without calling it.',
      });
    if (token == null && !refresh) throw new errors.NotInitializedError('token is null, and there is no refresh callback.');
    this._runner._setToken(token ?? undefined, refresh ?? undefined);
  }

  initialize(appKey, appSecret) {
    for (const [name, value] of [
      ['appKey', appKey],
      ['appSecret', appSecret],
    ])
      if (typeof value !== 'string' || !value.trim())
        throw new errors.IllegalArgumentError(`${name} is ${typeof value === 'string' ? 'empty' : `a ${typeof value}, not a string`}.`, {
          hint: 'Pass the app key and secret of your application.',
        });
    this._runner._setToken(undefined, () => fetchToken(this._base, appKey.trim(), appSecret.trim()));
  }

  /** The network is back, or the app is: look whether the connection lives, and dial at once where there is none. */
  wake() {
    this._runner._input((now) => this._runner._machine.online(now));
  }

  /** End at once what would go on in the background, and follow the page no longer. */
  dispose() {
    this._stop();
    this._runner._input((now) => this._runner._machine.abandon(now));
  }
}

export { errors, GreenroomError };
