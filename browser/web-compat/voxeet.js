/** What apps know as `VoxeetSDK` of the platform's Web SDK, over @greenroom/client. */
import { errors, Greenroom } from '@greenroom/client';
import { Conferences } from '../compat/conferences.js';
import { mediaMethod, platformError } from '../compat/errors.js';
import { checkMembers, INFO, OPTIONS } from '../compat/members.js';
import { toPlatform } from '../compat/participant.js';
import { withEvents } from './events.js';
import { MEDIA, SUBSCRIPTIONS } from './services.js';

/** The platform's own options of `initialize` and `initializeToken`; `host` is the only one with a use here. */
const CONFIGURATION = ['host', 'wsHost', 'fileHost', 'enableTelemetry', 'telemetryHost'];
/** Members of info that the platform's type has, and that say nothing to Greenroom. */
const UNUSED_INFO = ['ownerId', 'params'];

/** A participant in the words of the Web SDK. */
const toWeb = ({ status, type, ...rest }) => ({
  ...rest,
  type: type.toLowerCase(),
  status: status[0] + status.slice(1).toLowerCase(),
  audioTransmitting: false,
  videoTransmitting: false,
});

/** Statuses of a conference, and the event of each. */
const STATUS_EVENTS = { JOINED: 'joined', LEFT: 'left', ENDED: 'ended', ERROR: 'error' };

/** The part of a service that is about media. media(): what the app has given. */
const mediaPart = (name, { later = '', now = '', values = {} }, media) => {
  const service = { ...values };
  const words = (text) => text.split(' ').filter(Boolean);
  const call = (method) =>
    mediaMethod(`VoxeetSDK.${name}.${method}`, name === 'conference' ? method : `${name}.${method}`, media);
  for (const method of words(later)) service[method] = async (...given) => call(method)(...given);
  for (const method of words(now)) service[method] = call(method);
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
  let conferences;
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
      const { media, ...ofSdk } = rest;
      sdk = new Sdk(base, ofSdk);
      conferences = new Conferences(sdk, report, { media, getRandomValues: ofSdk.getRandomValues });
    }
    return sdk;
  };

  /** What happens in conferences, as events of the services. Whether someone listens. */
  const report = (event, value, more, error) => {
    const { conference, command, notification } = services;
    if (event === 'status') return !!STATUS_EVENTS[more] && conference.emit(STATUS_EVENTS[more], ...(error ? [error] : []));
    if (event === 'message') return command.emit('received', toWeb(value), more);
    if (event === 'participantAdded' || event === 'participantUpdated') return conference.emit(event, toWeb(value));
    const { participant, participants } = value;
    const people = { ...(participant && { participant: toWeb(participant) }), ...(participants && { participants: participants.map(toWeb) }) };
    return notification.emit(event, { ...value, ...people });
  };

  const started = () => {
    if (!sdk) throw new errors.NotInitializedError();
    return conferences;
  };

  const known = new Map(); // alias: the Conference that the app has
  /** The platform's Conference: one object for each, whose members are those of the moment. */
  const toConference = ({ id, alias, isNew }) => {
    const conference = known.get(alias) ?? {
      isProtected: false,
      isAudioOnly: false,
      pinCode: '',
      params: {},
      permissions: new Set(),
      get status() {
        return conferences.statusOf(alias).toLowerCase();
      },
      get participants() {
        return new Map(conferences.peopleOf(alias).map((one) => [one.id, toWeb(one)]));
      },
    };
    known.set(alias, Object.assign(conference, { id, alias, isNew }));
    return conference;
  };

  const isOpen = () => ['connected', 'reconnecting'].includes(sdk?.session.state);

  const session = withEvents({
    get participant() {
      const participant = sdk?.session.participant;
      return participant ? toWeb(toPlatform(participant)) : null;
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

  const conference = {
    get current() {
      const current = conferences?.current;
      return current ? toConference(current) : null;
    },
    get participants() {
      return this.current?.participants ?? new Map();
    },
    create: async (given) => toConference(await started().create(given ?? {})),
    fetch: async (id) => toConference(await started().fetch(id)),
    join: async (given, options) => toConference(await started().join(given, options)),
    kick: async (participant) => started().kick(participant),
    async leave(given) {
      await started().leave();
      if (given?.leaveRoom) await session.close();
    },
  };

  const kinds = (subscriptions) =>
    subscriptions.map(({ type, conferenceAlias }) => {
      if (!SUBSCRIPTIONS[type]) throw platformError('error', `Incorrect type of subscription: ${type}.`);
      return [SUBSCRIPTIONS[type], conferenceAlias];
    });
  const notification = {
    invite: async (given, participants) => started().invite(given, participants),
    decline: async (given) => started().decline(given),
    subscribe: async (subscriptions) => started().subscribe(kinds(subscriptions)),
    unsubscribe: async (subscriptions) => started().unsubscribe(kinds(subscriptions)),
  };

  const command = { send: async (message) => started().send(message) };

  const services = { session };
  const own = { conference, command, notification };
  const onListener = (name) => name === 'invitation' && Promise.resolve().then(() => conferences?.deliver());
  for (const [name, members] of Object.entries(MEDIA)) {
    const service = own[name] ?? {};
    Object.assign(service, mediaPart(name, members, () => options?.media));
    withEvents(service, name === 'notification' ? onListener : undefined);
    const [owner, part] = name.split('.');
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
      checkMembers('configure', given, ['url', 'media', ...OPTIONS]);
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
