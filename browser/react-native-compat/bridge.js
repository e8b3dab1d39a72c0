/**
 * What the JavaScript layer of @dolbyio/comms-sdk-react-native expects of its native side, over @greenroom/client:
 * the modules of initialisation and sessions as they were, all others with an error that says what is missing.
 */
import { Greenroom } from '@greenroom/client';
import { notAvailable, platformError } from '../compat/errors.js';
import { checkMembers, OPTIONS } from '../compat/members.js';
import { toPlatform } from '../compat/participant.js';
import { NOT_AVAILABLE } from './modules.js';

export const TOKEN_REFRESH = 'EVENT_SDK_TOKEN_REFRESH';

/** The words of the platform's native modules where there is no session. */
const NO_PARTICIPANT = {
  ios: ['noCurrentParticipant', 'No current session user.'],
  android: ['EUNSPECIFIED', "No current user's session"],
};

/** Greenroom's errors come as code "error" with their whole text, like those of the native SDK; `reason` says which. */
const translated = (work) =>
  work.then(
    () => null,
    (error) => {
      throw Object.assign(platformError('error', error.message, error), { reason: error.reason });
    },
  );

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
  #asked; // {resolve, reject}: the refresh that waits for onAccessTokenOk or onAccessTokenKo
  #options;
  #sdk;
  #os = 'ios';
  #Sdk;

  constructor(Sdk = Greenroom) {
    this.#Sdk = Sdk;
    const events = this.#events;
    this.modules = { CommsAPIModule: this.#main(), CommsAPISessionServiceModule: this.#session() };
    for (const [name, methods] of Object.entries(NOT_AVAILABLE)) this.modules[name] = withoutMethods(name, methods);
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
  configure(given) {
    checkMembers('configure', given, ['url', 'os', ...OPTIONS]);
    const { url, os, ...options } = given ?? {};
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
      throw platformError('notConfigured', "Call configure({ url }) of '@greenroom/react-native-compat' first.");
    const { url, ...options } = this.#options;
    this.#sdk ??= new this.#Sdk(url, options);
    return this.#sdk;
  }

  #opened() {
    if (!this.#sdk) throw platformError('notInitialized', 'Call initializeToken or initialize first.');
    return this.#sdk.session;
  }

  // The SDK has one refresh in flight: it asks again only when it has given up the one before.
  #refresh = () =>
    new Promise((resolve, reject) => {
      this.#answer('reject', new Error('The app did not answer in time.'));
      this.#asked = { resolve, reject };
      this.#events.emit(TOKEN_REFRESH, null);
    });

  #answer(kind, value) {
    const asked = this.#asked;
    this.#asked = undefined;
    asked?.[kind](value);
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
        if (!participant) throw platformError(...(NO_PARTICIPANT[this.#os] ?? NO_PARTICIPANT.ios));
        return toPlatform(participant);
      },
      updateParticipantInfo: (name, avatarUrl) =>
        translated(run((session) => session.updateParticipantInfo(name, avatarUrl))),
    };
  }
}

/** A module whose every method says that it is not available. */
const withoutMethods = (name, methods) =>
  Object.fromEntries(
    methods.split(' ').map((method) => [
      method,
      async () => {
        throw notAvailable(`${name}.${method}`);
      },
    ]),
  );
