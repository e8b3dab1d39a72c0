/**
 * The service's time: Unix seconds of the service, once it has sent them; until then those of the device, which may be
 * wrong by years. Between two replies time is counted by whichever of the device's clocks ran further: the monotonic one
 * stands still while the device sleeps, and the wall clock may be set back.
 */
export class ServiceClock {
  constructor() {
    this._isKnown = false;
    this._now = this._wall = this._base = this._learnedNow = this._learnedWall = 0;
  }

  /** The present instant on both clocks of the device. */
  _note(now, wall) {
    this._now = now;
    this._wall = wall;
  }

  /** The service said that it is this time now, in Unix seconds. */
  _learn(time) {
    this._isKnown = true;
    this._base = time;
    this._learnedNow = this._now;
    this._learnedWall = this._wall;
  }

  get _time() {
    return this._isKnown
      ? this._base + Math.max(this._now - this._learnedNow, this._wall - this._learnedWall)
      : this._wall;
  }
}
