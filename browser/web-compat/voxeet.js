/** What apps know as `VoxeetSDK` of the platform's Web SDK, over @greenroom/client. */
import { errors, Greenroom } from '@greenroom/client';
import { notAvailable, platformError } from '../compat/errors.js';
import { checkMembers, INFO, OPTIONS } from '../compat/members.js';
import { toPlatform } from '../compat/participant.js';
import { NOT_AVAILABLE } from './services.js';

/** The platform's own options of `initialize` and `initializeToken`; `host` is the only one with a use here. */
const CONFIGURATION = ['host', 'wsHost', 'fileHost', 'enableTelemetry', 'telemetryHost'];
/** Members of info that the platform's type has, and that say nothing to Greenroom. */
const UNUSED_INFO = ['ownerId', 'params'];

const TYPES = { USER: 'user' };
const STATUSES = { CONNECTED: 'Connected', CONNECTING: 'Connecting', LEFT: 'Left' };

/** Services are event emitters on the platform. These have no events: listeners are taken, and never called. */
const withoutEvents = (service) => {
  for (const name of ['on', 'once', 'off', 'addListener', 'removeListener', 'removeAllListeners', 'setMaxListeners'])
    service[name] = () => service;
  service.emit = () => false;
  service.listeners = () => [];
  service.listenerCount = () => 0;
  return service;
};

const serviceWithout = (name, { later = '', now = '', values = {} }) => {
  const service = withoutEvents({ ...values });
  const words = (text) => text.split(' ').filter(Boolean);
  const error = (method) => notAvailable(`VoxeetSDK.${name}.${method}`);
  for (const method of words(later)) service[method] = () => Promise.reject(error(method));
  for (const method of words(now))
    service[method] = () => {
      throw error(method);
    };
  return service;
};

/** Work that takes effect at once, as a promise: apps await `initialize`, or call its `catch`. */
const promised = async (work) => {
  work();
};

/** A new `VoxeetSDK`. url: of the service, where it is known already. */
export const createVoxeetSDK = (url, Sdk = Greenroom) => {
  let options = url === undefined ? undefined : { url };
  let sdk;
  let credentials;

  const start = (configuration) => {
    checkMembers('The configuration', configuration, CONFIGURATION);
    if (!sdk) {
      const { url: base = configuration?.host, ...rest } = options ?? {};
      if (base === undefined)
        throw platformError(
          'notConfigured',
          "Where the Greenroom service is has not been said: call VoxeetSDK.configure({ url: 'https://sessions.example.com' }) first.",
        );
      sdk = new Sdk(base, rest);
    }
    return sdk;
  };

  const isOpen = () => ['connected', 'reconnecting'].includes(sdk?.session.state);

  const session = withoutEvents({
    get participant() {
      const participant = sdk?.session.participant;
      if (!participant) return null;
      const { type, status, ...rest } = toPlatform(participant);
      return { ...rest, type: TYPES[type], status: STATUSES[status], audioTransmitting: false, videoTransmitting: false };
    },
    isOpen,
    async open(info) {
      checkMembers('info', info, [...INFO, ...UNUSED_INFO]);
      if (!sdk) throw new errors.NotInitializedError();
      const { name, avatarUrl, externalId } = info ?? {};
      await sdk.session.open({ name, avatarUrl, externalId });
    },
    async close() {
      await sdk?.session.close();
    },
    /** As the Web SDK has it, `{ name, avatarUrl }`, or as the others have it, `name, avatarUrl`. */
    async updateParticipantInfo(info, avatarUrl) {
      const given = typeof info === 'string' || info === null || info === undefined ? { name: info, avatarUrl } : info;
      checkMembers('info', given, [...INFO, ...UNUSED_INFO]);
      if (!sdk) throw new errors.SessionNotOpenError();
      await sdk.session.updateParticipantInfo(given.name, given.avatarUrl);
    },
  });

  const services = { session };
  for (const [name, members] of Object.entries(NOT_AVAILABLE)) {
    const [owner, part] = name.split('.');
    const service = serviceWithout(name, members);
    if (part) services[owner][part] = service;
    else services[owner] = service;
  }

  return {
    ...services,
    version: typeof VERSION === 'undefined' ? '' : VERSION,
    /** The platform's loader of media files; nothing is loaded here. */
    packageUrlPrefix: '',
    uxkitVersion: '',
    /** Greenroom itself, for what the platform did not have. Undefined before it is initialised. */
    get greenroom() {
      return sdk;
    },
    configure(given) {
      checkMembers('configure', given, ['url', ...OPTIONS]);
      if (sdk) throw new Error('greenroom: configure() comes before initialize and initializeToken.');
      options = { ...given };
    },
    initialize: (key, secret, configuration) =>
      promised(() => {
        const same = isOpen() && credentials?.[0] === key && credentials[1] === secret;
        if (same) return; // components that are rendered again initialise again
        start(configuration).initialize(key, secret);
        credentials = [key, secret];
      }),
    initializeToken: (accessToken, callback, configuration) =>
      promised(() => start(configuration).initializeToken(accessToken, callback)),
    region() {},
    displaySettings() {},
    registerComponentVersion() {},
  };
};
