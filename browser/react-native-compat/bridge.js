/**
 * What the JavaScript layer of @dolbyio/comms-sdk-react-native expects of its native side, over @greenroom/client:
 * the modules of initialisation and sessions as they were, all others with an error that says what is missing.
 */
import { Greenroom } from '@greenroom/client';
import { NOT_AVAILABLE } from './modules.js';

export const TOKEN_REFRESH = 'EVENT_SDK_TOKEN_REFRESH';

/** The words of the platform's native modules where there is no session. */
const NO_PARTICIPANT = {
  ios: ['noCurrentParticipant', 'No current session user.'],
  android: ['EUNSPECIFIED', "No current user's session"],
};

/** An error as a native module rejects with one: `code` and `message`, and what it was made from. */
const nativeError = (code, message, cause) => Object.assign(new Error(message, { cause }), { code });

/** Greenroom's errors come as code "error" with their whole text, like those of the native SDK; `reason` says which. */
const translated = (work) =>
  work.then(
    () => null,
    (error) => {
      throw Object.assign(nativeError('error', error.message, error), { reason: error.reason });
    },
  );

/** A participant in the form of the platform's conference models. */
const toNative = ({ id, info, status, type }) => ({
  id,
  info: JSON.parse(JSON.stringify(info)), // only what is set
  status,
  type,
  streams: [],
});

/** Events of all modules; `NativeEventEmitter` of React Native has the same two methods. */
class Emitter {
  #listeners = new Map();

  add(name, listener) {
    const all = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, all.add(listener));
    return { remove: () => all.delete(listener) };
  }

  emit(name, body) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(body);
  }

  removeAll(name) {
    this.#listeners.delete(name);
  }
}

/** The native side. `configure` says where the service is; until then nothing can be initialised. */
export class Bridge {
  #events = new Emitter();
  #asked = []; // {resolve, reject}: refreshes that wait for onAccessTokenOk or onAccessTokenKo
  #options;
  #sdk;
  #os = 'ios';

  constructor() {
    const events = this.#events;
    this.modules = { CommsAPIModule: this.#main(), CommsAPISessionServiceModule: this.#session() };
    for (const [name, methods] of Object.entries(NOT_AVAILABLE)) this.modules[name] = notAvailable(name, methods);
    for (const module of Object.values(this.modules)) Object.assign(module, { addListener() {}, removeListeners() {} });
    /** In place of React Native's own, for these modules. */
    this.NativeEventEmitter = class {
      addListener(name, listener) {
        return events.add(name, listener);
      }

      removeAllListeners(name) {
        events.removeAll(name);
      }
    };
  }

  /** url: of the Greenroom service. The other options are those of `new Greenroom(url, options)`. */
  configure({ url, os, ...options }) {
    if (this.#sdk) throw new Error('greenroom: configure() comes before initialize and initializeToken.');
    if (os) this.#os = os;
    this.#options = { url, ...options };
  }

  /** ios or android: whose words errors have. */
  set os(os) {
    this.#os = os;
  }

  /** Greenroom itself, for what the platform did not have: state changes, who is there. Undefined before it is initialised. */
  get sdk() {
    return this.#sdk;
  }

  /** The app is in the foreground again. */
  wake() {
    this.#sdk?.wake();
  }

  #start() {
    if (!this.#options)
      throw nativeError('notConfigured', "Call configure({ url }) of '@greenroom/react-native-compat' first.");
    const { url, ...options } = this.#options;
    this.#sdk ??= new Greenroom(url, options);
    return this.#sdk;
  }

  #opened() {
    if (!this.#sdk) throw nativeError('notInitialized', 'Call initializeToken or initialize first.');
    return this.#sdk.session;
  }

  #refresh = () =>
    new Promise((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      this.#events.emit(TOKEN_REFRESH, null);
    });

  #answer(kind, value) {
    for (const asked of this.#asked.splice(0)) asked[kind](value);
    return null;
  }

  #main() {
    return {
      initialize: (consumerKey, consumerSecret) =>
        translated(
          (async () => {
            this.#start().initialize(consumerKey, consumerSecret);
          })(),
        ),
      initializeToken: (accessToken) =>
        translated(
          (async () => {
            this.#start().initializeToken(accessToken, this.#refresh);
          })(),
        ),
      onAccessTokenOk: async (accessToken) => this.#answer('resolve', accessToken),
      onAccessTokenKo: async (reason) =>
        this.#answer('reject', new Error(`refreshToken failed with reason := ${reason}`)),
    };
  }

  #session() {
    const run = async (work) => work(this.#opened());
    return {
      open: (info) => translated(run((session) => session.open(info ?? {}))),
      close: () => translated(run((session) => session.close())),
      isOpen: async () => (this.#sdk ? this.#sdk.session.isOpen() : false),
      getParticipant: async () => {
        const participant = this.#sdk?.session.participant;
        if (!participant) throw nativeError(...(NO_PARTICIPANT[this.#os] ?? NO_PARTICIPANT.ios));
        return toNative(participant);
      },
      updateParticipantInfo: (name, avatarUrl) =>
        translated(run((session) => session.updateParticipantInfo(name, avatarUrl))),
    };
  }
}

/** A module whose every method says that it is not there. */
function notAvailable(name, methods) {
  const module = {};
  for (const method of methods.split(' '))
    module[method] = async () => {
      throw nativeError(
        'notAvailable',
        `${name}.${method} is not available: Greenroom has sessions and presence, and no conferences or media.`,
      );
    };
  return module;
}
