/**
 * One Greenroom SDK as React sees it: a snapshot that is replaced when something changes, participants and rooms that
 * are watched or joined while a component shows them, and listeners. No React here: `useSyncExternalStore` reads this.
 *
 * What components let go of is released in a later turn: StrictMode unmounts and mounts everything again at once, and
 * neither sessions nor watches end for that.
 */
import { errors, Greenroom } from '@greenroom/client';

const CLOSED = Object.freeze({
  sdk: undefined, state: 'disconnected', isOpen: false, participant: undefined, ended: undefined, error: undefined,
});
const NOBODY = Object.freeze({ participants: Object.freeze([]), isLoading: false, error: undefined });

const NO_ROOM = Object.freeze({
  room: undefined, members: Object.freeze([]), count: 0, isMember: false, closed: undefined, isLoading: false, error: undefined,
});

/** How it is asked for, by the kind in its key: what is shown, and what ends it. set: shows what it became. */
const SOURCES = {
  ids: (sdk, id, set) => watchParticipant(sdk, { ids: [id] }, set),
  externalIds: (sdk, id, set) => watchParticipant(sdk, { externalIds: [id] }, set),
  join: (sdk, name, set) => enter(() => sdk.rooms.join(name), set),
  watch: (sdk, name, set) => enter(() => sdk.rooms.watch(name), set),
};

const watchParticipant = async (sdk, who, set) => {
  const watch = await sdk.participants.watch(who, set);
  return [watch.participants[0], () => watch.close()];
};

const enter = async (ask, set) => {
  const room = await ask();
  const show = (closed) => ({
    room,
    members: Object.freeze([...room.members.values()].sort((one, other) => one.joinedAt - other.joinedAt)),
    count: room.count,
    isMember: room.isMember,
    closed,
  });
  const offs = [room.on('changed', () => set(show())), room.on('closed', (closed) => set(show(closed)))];
  const end = () => {
    for (const off of offs) off();
    room.leave();
  };
  return [show(), end];
};

const isSame = (one, other) => Object.keys(one).every((name) => Object.is(one[name], other[name]));

/** Later in this turn or in the next: what is done now may be undone at once. */
const later = (work) => setTimeout(work, 0);

export class SessionStore {
  #Sdk;
  #listeners = new Set();
  #snapshot = CLOSED;
  #watched = new Map(); // key: {listeners, value, error; end, asking, turn}
  #props;
  #offs = [];
  #stopping;
  #waiting = []; // {resolve, reject}: calls of components whose effects ran before the provider's
  #unusable; // why there is no SDK, once it is known

  constructor(Sdk = Greenroom) {
    this.#Sdk = Sdk;
  }

  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  getSnapshot = () => this.#snapshot;

  /** On a server, and while its page is hydrated, no session is there. */
  getServerSnapshot = () => CLOSED;

  // -- the provider

  /** The provider is mounted, or was given other props. */
  start(props) {
    clearTimeout(this.#stopping);
    const before = this.#props;
    this.#props = props;
    const { sdk, url } = props;
    if (before && before.sdk === sdk && before.url === url) {
      if (!sdk && props.token && props.token !== before.token) this.#initialize();
      return;
    }
    if (before) this.#end(before);
    try {
      this.#begin(sdk ?? new this.#Sdk(url, props.options));
    } catch (error) {
      this.#refuseCalls(error);
      this.#update({ error });
    }
  }

  /** The provider is unmounted. */
  stop() {
    this.#stopping = later(() => {
      const props = this.#props;
      this.#props = undefined;
      this.#end(props);
      this.#refuseCalls(new errors.SessionNotOpenError('The GreenroomProvider is no longer mounted.', { hint: '' }));
    });
  }

  #begin(sdk) {
    this.#unusable = undefined;
    const { session } = sdk;
    const changed = () => this.#changed();
    this.#offs = [
      session.onStateChanged(changed),
      session.onParticipantUpdated(changed),
      session.onReopened(changed),
      session.onEnded((ended) => this.#changed({ ended, error: ended.error })),
    ];
    this.#changed({ sdk });
    if (!this.#props.sdk) this.#initialize();
    if (this.#props.open !== false) this.open(this.#props.info).catch(() => {}); // kept as `error`
    for (const { resolve } of this.#waiting.splice(0)) resolve(sdk);
  }

  #initialize() {
    const { token, refresh } = this.#props;
    try {
      // The callback of the latest render.
      this.#snapshot.sdk.initializeToken(token ?? null, refresh && ((isExpired) => this.#props?.refresh?.(isExpired)));
    } catch (error) {
      this.#update({ error });
    }
  }

  #end({ sdk: given, open }) {
    const { sdk } = this.#snapshot;
    for (const off of this.#offs.splice(0)) off();
    if (!given) sdk?.dispose();
    else if (open !== false) given.session.close();
    this.#closed();
    this.#update(CLOSED);
  }

  // -- the session

  open = async (info, options) => {
    const sdk = await this.#ready();
    try {
      const participant = await sdk.session.open(info, options);
      this.#changed({ ended: undefined, error: undefined });
      return participant;
    } catch (error) {
      if (sdk === this.#snapshot.sdk) this.#update({ error });
      throw error;
    }
  };

  close = async () => this.#snapshot.sdk?.session.close();

  setStatus = async (status) => {
    const sdk = await this.#ready();
    const participant = await sdk.session.setStatus(status);
    this.#changed();
    return participant;
  };

  updateParticipantInfo = async (...values) => {
    const sdk = await this.#ready();
    const participant = await sdk.session.updateParticipantInfo(...values);
    this.#changed();
    return participant;
  };

  async #ready() {
    if (this.#unusable) throw this.#unusable;
    return this.#snapshot.sdk ?? new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #refuseCalls(error) {
    this.#unusable = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #changed(more) {
    const sdk = more?.sdk ?? this.#snapshot.sdk;
    if (!sdk) return;
    const { state, participant } = sdk.session;
    const isOpen = state === 'connected' || state === 'reconnecting';
    const wasOpen = this.#snapshot.isOpen;
    this.#update({ state, isOpen, participant, ...more });
    if (isOpen && !wasOpen) for (const [key, one] of this.#watched) this.#watch(key, one);
    if (!isOpen && wasOpen) this.#closed();
  }

  #update(changes) {
    const next = { ...this.#snapshot, ...changes };
    if (isSame(next, this.#snapshot)) return;
    this.#snapshot = Object.freeze(next);
    for (const listener of [...this.#listeners]) listener();
  }

  // -- what is watched: participants and rooms

  /** These participants for `useSyncExternalStore`: each is watched once, however many components show it. */
  view(keys) {
    return this.#view(keys, NOBODY, (all, last) => {
      const participants = all.map((one) => one.value).filter(Boolean);
      const error = all.find((one) => one.error)?.error;
      const isLoading = this.#snapshot.isOpen && all.some((one) => !one.value && !one.error);
      const unchanged =
        participants.length === last.participants.length && participants.every((one, at) => one === last.participants[at]);
      return { participants: unchanged ? last.participants : participants, isLoading, error };
    });
  }

  /** A room for `useSyncExternalStore`: it is joined, or watched, once, however many components show it. */
  roomView(key) {
    return this.#view(key ? [key] : [], NO_ROOM, ([one]) => {
      const isLoading = this.#snapshot.isOpen && !!one && !one.value && !one.error;
      return { ...NO_ROOM, ...one?.value, isLoading, error: one?.error ?? one?.value?.closed?.error };
    });
  }

  /** Join or watch again what was closed. */
  again(key) {
    const one = this.#watched.get(key);
    if (one?.value?.closed && this.#snapshot.isOpen) this.#watch(key, one);
  }

  #view(keys, nothing, show) {
    let last = nothing;
    return {
      subscribe: (listener) => {
        for (const key of keys) this.#hold(key, listener);
        return () => {
          for (const key of keys) this.#release(key, listener);
        };
      },
      getSnapshot: () => {
        const next = show(keys.map((key) => this.#watched.get(key) ?? {}), last);
        if (!isSame(next, last)) last = next;
        return last;
      },
      getServerSnapshot: () => nothing,
    };
  }

  #hold(key, listener) {
    let one = this.#watched.get(key);
    if (!one) {
      this.#watched.set(key, (one = { listeners: new Set() }));
      if (this.#snapshot.isOpen) this.#watch(key, one);
    }
    one.listeners.add(listener);
  }

  #release(key, listener) {
    const one = this.#watched.get(key);
    one?.listeners.delete(listener);
    if (!one?.listeners.size) later(() => this.#dropIfUnused(key, one));
  }

  /** What is being asked for is dropped when it has been answered. */
  #dropIfUnused(key, one) {
    if (this.#watched.get(key) !== one || one.listeners.size || one.asking) return;
    this.#watched.delete(key);
    one.end?.();
  }

  async #watch(key, one) {
    const turn = (one.turn = {}); // once another one is there, what this one brings is outdated
    const set = (changes) => {
      if (one.turn === turn) this.#set(one, changes);
    };
    const [kind, id] = JSON.parse(key);
    one.asking = true;
    try {
      const [value, end] = await SOURCES[kind](this.#snapshot.sdk, id, (next) => set({ value: next }));
      set({ asking: false, value, end, error: undefined });
    } catch (error) {
      set({ asking: false, error });
    }
    this.#dropIfUnused(key, one);
  }

  /** The session is over, and with it what it watched. */
  #closed() {
    for (const one of this.#watched.values())
      this.#set(one, { turn: undefined, asking: false, end: undefined, value: undefined, error: undefined });
  }

  #set(one, changes) {
    Object.assign(one, changes);
    for (const listener of [...one.listeners]) listener();
  }
}
