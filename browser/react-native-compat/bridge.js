/**
 * What the JavaScript layer of @dolbyio/comms-sdk-react-native expects of its native side, over @greenroom/client:
 * the modules of initialisation, sessions, conferences, commands and notifications. Those of media are the app's own, or
 * reject with an error that says what is missing.
 */
import { Greenroom } from '@greenroom/client';
import { Conferences } from '../compat/conferences.js';
import { mediaMethod, platformError } from '../compat/errors.js';
import { checkMembers, OPTIONS } from '../compat/members.js';
import { toPlatform } from '../compat/participant.js';
import { EVENTS, MEDIA, SUBSCRIPTIONS } from './modules.js';

export const TOKEN_REFRESH = 'EVENT_SDK_TOKEN_REFRESH';

/** The words of the platform's native modules where there is no session. */
const NO_PARTICIPANT = {
  ios: ['noCurrentParticipant', 'No current session user.'],
  android: ['EUNSPECIFIED', "No current user's session"],
};

/** Greenroom's errors come as code "error" with their whole text, like those of the native SDK; `reason` says which. */
const given = (work) =>
  work.catch((error) => {
    if (error.code === 'notAvailable') throw error;
    throw Object.assign(platformError('error', error.message, error), { reason: error.reason });
  });

/** The same, of what gives nothing. */
const translated = (work) => given(work).then(() => null);

/** Bodies of events: what the native modules sent. */
const BODIES = {
  status: (_, status) => ({ status, conferenceStatus: status }), // the word of iOS, and that of Android
  participantAdded: (participant) => ({ participant }),
  participantUpdated: (participant) => ({ participant }),
  message: (participant, message) => ({ participant, message }),
};

/** Events of all modules; `NativeEventEmitter` of React Native has the same two methods. */
class Emitter {
  #listeners = new Map();

  add(name, listener) {
    const all = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, all.add(listener));
    return { remove: () => all.delete(listener) };
  }

  /** Whether someone listens. */
  emit(name, body) {
    const all = [...(this.#listeners.get(name) ?? [])];
    for (const listener of all) listener(body);
    return all.length > 0;
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
  #conferences;
  #os = 'ios';
  #Sdk;

  constructor(Sdk = Greenroom) {
    this.#Sdk = Sdk;
    const events = this.#events;
    const started = () => this.#conferences;
    this.modules = {
      CommsAPIModule: this.#main(),
      CommsAPISessionServiceModule: this.#session(),
      CommsAPIConferenceServiceModule: this.#conference(),
      CommsAPICommandServiceModule: this.#command(),
      CommsAPINotificationServiceModule: this.#notification(),
    };
    for (const [name, words] of Object.entries(MEDIA))
      this.modules[name] = { ...this.modules[name], ...mediaMethods(name, words, () => this.#options?.media) };
    for (const module of Object.values(this.modules)) Object.assign(module, { addListener() {}, removeListeners() {} });
    /** In place of React Native's own, for these modules. */
    this.NativeEventEmitter = class {
      addListener(name, listener) {
        const subscription = events.add(name, listener);
        if (name === EVENTS.invitation) Promise.resolve().then(() => started()?.deliver());
        return subscription;
      }

      removeAllListeners(name) {
        events.removeAll(name);
      }
    };
  }

  /**
   * url: of the Greenroom service. media: the app's own media layer, an object whose methods are called in place of those of
   * the platform's modules. The other options are those of `new Greenroom(url, options)`.
   */
  configure(options) {
    checkMembers('configure', options, ['url', 'os', 'media', ...OPTIONS]);
    const { os, ...rest } = options ?? {};
    if (this.#sdk) throw new Error('greenroom: configure() comes before initialize and initializeToken.');
    if (os) this.#os = os;
    this.#options = rest;
  }

  /** For the app's media layer: an event of the native modules, e.g. EVENT_CONFERENCE_STREAM_ADDED. Whether someone listens. */
  emit(name, body) {
    return this.#events.emit(name, body);
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
    if (!this.#sdk) {
      const { url, media, ...options } = this.#options;
      this.#sdk = new this.#Sdk(url, options);
      const report = (name, ...values) => this.emit(EVENTS[name], BODIES[name]?.(...values) ?? values[0]);
      this.#conferences = new Conferences(this.#sdk, report, { media, getRandomValues: options.getRandomValues });
    }
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

  #conference() {
    const run = (work) => given((async () => work(this.#rooms()))());
    return {
      create: (options) => run((all) => all.create(options ?? {})),
      current: async () => this.#conferences?.current ?? null,
      fetch: (id) => run((all) => all.fetch(id)),
      getParticipant: (id) => run((all) => all.participant(id)),
      getParticipants: (conference) => run((all) => all.participants(conference)),
      getStatus: (conference) => run((all) => all.status(conference)),
      join: (conference, options) => run((all) => all.join(conference, options)),
      kick: (participant) => translated(run((all) => all.kick(participant))),
      leave: () => translated(run((all) => all.leave())),
    };
  }

  #command() {
    return { send: (message) => translated((async () => this.#rooms().send(message))()) };
  }

  #notification() {
    const run = (work) => translated((async () => work(this.#rooms()))());
    const known = (subscriptions) =>
      subscriptions.map(({ type, conferenceAlias }) => {
        if (!SUBSCRIPTIONS[type]) throw platformError('error', `Incorrect type of subscription: ${type}.`);
        return [SUBSCRIPTIONS[type], conferenceAlias];
      });
    return {
      subscribe: (subscriptions) => run((all) => all.subscribe(known(subscriptions))),
      unsubscribe: (subscriptions) => run((all) => all.unsubscribe(known(subscriptions))),
      invite: (conference, participants) => run((all) => all.invite(conference, participants)),
      decline: (conference) => run((all) => all.decline(conference)),
    };
  }

  #rooms() {
    this.#opened();
    return this.#conferences;
  }
}

/** words: as in MEDIA. */
const mediaMethods = (name, words, media) => {
  const [, owner = '', methods] = /^(?:(\w+): )?(.*)$/.exec(words);
  return Object.fromEntries(
    methods.split(' ').map((method) => {
      const call = mediaMethod(`${name}.${method}`, owner ? `${owner}.${method}` : method, media);
      return [method, async (...values) => call(...values)];
    }),
  );
};
