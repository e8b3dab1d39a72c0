/** @greenroom/web-compat: what apps of the platform's Web SDK call, against a service in this process. */
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createContext, runInContext } from 'node:vm';
import './support/resolve.mjs';
import { bundle } from '../scripts/build.mjs';
import { FakeService, participantId, token } from './support/service.mjs';

const { errors } = await import('../src/index.js');
const { createVoxeetSDK } = await import('../web-compat/voxeet.js');
const compat = await import('../web-compat/index.js');

const make = (service = new FakeService()) => {
  const VoxeetSDK = createVoxeetSDK();
  VoxeetSDK.configure({ url: 'http://service', webSocket: service.WebSocket });
  return VoxeetSDK;
};

test('if (!VoxeetSDK.session.isOpen()) await open(): opens once', async () => {
  const service = new FakeService();
  const VoxeetSDK = make(service);
  assert.equal(VoxeetSDK.session.isOpen(), false);
  assert.equal(VoxeetSDK.session.participant, null);
  VoxeetSDK.initializeToken(token('anna'), () => token('anna'));
  for (let turn = 0; turn < 2; turn++)
    if (!VoxeetSDK.session.isOpen()) await VoxeetSDK.session.open({ name: 'Anna', avatarUrl: undefined });
  assert.equal(VoxeetSDK.session.isOpen(), true);
  assert.equal(service.opens, 1);
  assert.deepEqual(VoxeetSDK.session.participant, {
    id: participantId('anna'),
    info: { name: 'Anna', externalId: 'anna' },
    status: 'Connected',
    type: 'user',
    streams: [],
    audioTransmitting: false,
    videoTransmitting: false,
  });
  await VoxeetSDK.session.updateParticipantInfo({ name: 'Anna B.' });
  assert.equal(VoxeetSDK.session.participant.info.name, 'Anna B.');
  await VoxeetSDK.session.updateParticipantInfo('Anna C.', undefined);
  assert.equal(VoxeetSDK.session.participant.info.name, 'Anna C.');
  await VoxeetSDK.session.close();
  assert.equal(VoxeetSDK.session.isOpen(), false);
  assert.equal(VoxeetSDK.session.participant, null);
  VoxeetSDK.greenroom.dispose();
});

test('VoxeetSDK.initialize(…).catch(…), await VoxeetSDK.initializeToken(…): promises that act at once', async () => {
  const VoxeetSDK = make();
  assert.equal(await VoxeetSDK.initialize('key', 'secret').catch(assert.fail), undefined);
  await assert.rejects(VoxeetSDK.initialize('key', ''), errors.IllegalArgumentError);
  await assert.rejects(VoxeetSDK.initializeToken('no token', () => ''), errors.TokenInvalidError);
  VoxeetSDK.initializeToken(token('anna'));
  await VoxeetSDK.session.open(); // without an await before it
  VoxeetSDK.greenroom.dispose();
});

test('a component that is rendered again initialises again: the session stays', async () => {
  const VoxeetSDK = make();
  const { fetch } = globalThis;
  globalThis.fetch = async () => ({ status: 200, json: async () => ({ access_token: token('anna') }) });
  try {
    for (let turn = 0; turn < 2; turn++) await VoxeetSDK.initialize('key', 'secret');
    await VoxeetSDK.session.open({ name: 'Anna' });
    await VoxeetSDK.initialize('key', 'secret');
    assert.equal(VoxeetSDK.session.isOpen(), true);
    await assert.rejects(VoxeetSDK.initialize('other', 'secret'), errors.SessionAlreadyOpenError);
  } finally {
    globalThis.fetch = fetch;
  }
  VoxeetSDK.greenroom.dispose();
});

test('import VoxeetSDK, { initialize, session, conference }: the names are members of VoxeetSDK', () => {
  const { default: VoxeetSDK, ...named } = compat;
  assert.equal(named.VoxeetSDK, VoxeetSDK);
  delete named.VoxeetSDK;
  for (const [name, value] of Object.entries(named)) assert.equal(value, VoxeetSDK[name], name);
  const services = Object.keys(VoxeetSDK).filter((name) => typeof VoxeetSDK[name]?.on === 'function');
  assert.equal(services.length, 13);
  for (const name of [...services, 'configure', 'initialize', 'initializeToken']) assert.ok(named[name], name);
});

test('where the service is: configure, the host of the platform, or an error that says how', async () => {
  const VoxeetSDK = createVoxeetSDK();
  await assert.rejects(VoxeetSDK.initializeToken(token('anna')), (error) => {
    assert.equal(error.code, 'notConfigured');
    return /VoxeetSDK\.configure\(\{ url/.test(error.message);
  });
  const made = [];
  class Sdk {
    rooms = { on() {} };

    constructor(...values) {
      made.push(values);
    }

    initializeToken() {}
  }
  const hosts = { host: 'https://a.example', wsHost: 'wss://a.example' };
  await createVoxeetSDK(undefined, Sdk).initializeToken('t', null, hosts);
  await createVoxeetSDK('https://b.example', Sdk).initializeToken('t', null, { host: 'https://a.example' });
  const third = createVoxeetSDK('https://b.example', Sdk);
  third.configure({ url: 'https://c.example', device: { id: 'd' } });
  await third.initializeToken('t');
  assert.deepEqual(made, [
    ['https://a.example', {}],
    ['https://b.example', {}],
    ['https://c.example', { device: { id: 'd' } }],
  ]);
  assert.throws(() => third.configure({ url: 'https://d.example' }), /before initialize/);
});

test('before initialize: open says what is missing, close is fine', async () => {
  const VoxeetSDK = make();
  await assert.rejects(VoxeetSDK.session.open({ name: 'Anna' }), errors.NotInitializedError);
  await assert.rejects(VoxeetSDK.session.updateParticipantInfo({ name: 'x' }), errors.SessionNotOpenError);
  await VoxeetSDK.session.close();
});

test('misspelt members are refused by name, with what was probably meant', async () => {
  const VoxeetSDK = make();
  VoxeetSDK.initializeToken(token('anna'));
  const refused = (work, message) => assert.rejects(async () => work(), { name: 'IllegalArgumentError', message });
  await refused(() => createVoxeetSDK().configure({ uri: 'x' }), /configure has no member uri\. Did you mean url\?/);
  await refused(() => createVoxeetSDK().configure('https://x'), /configure must be an object/);
  await refused(() => VoxeetSDK.session.open({ Name: 'Anna' }), /info has no member Name\. Did you mean name\?/);
  await refused(() => VoxeetSDK.session.open({ external_id: 'a' }), /external_id\. Did you mean externalId\?/);
  await refused(() => VoxeetSDK.session.open({ email: 'a' }), /email\. Its members are name, avatarUrl, externalId/);
  await refused(() => VoxeetSDK.session.open('Anna'), /info must be an object, and this is of type string/);
  await refused(() => VoxeetSDK.session.updateParticipantInfo({ avatarURL: 'x' }), /Did you mean avatarUrl\?/);
  await refused(() => VoxeetSDK.initializeToken('t', null, { hots: 'x' }), /Did you mean host\?/);
  VoxeetSDK.greenroom.dispose();
});

test('what Greenroom has not says so: no TypeError, and how an app can give it', async () => {
  const VoxeetSDK = make();
  const isNotAvailable = (error) => error.code === 'notAvailable' && /is not available: Greenroom has/.test(error.message);
  for (const work of [
    () => VoxeetSDK.conference.startAudio({}),
    () => VoxeetSDK.conference.listen({}),
    () => VoxeetSDK.mediaDevice.enumerateAudioInputDevices(),
    () => VoxeetSDK.recording.start(),
    () => VoxeetSDK.videoPresentation.start('x'),
    () => VoxeetSDK.filePresentation.convert({}),
    () => VoxeetSDK.audio.local.start(),
    () => VoxeetSDK.video.remote.stop({}),
  ]) {
    const promise = work();
    assert.ok(promise instanceof Promise); // no throw: `.then().catch()` is what apps write
    await assert.rejects(promise, isNotAvailable);
  }
  assert.throws(() => VoxeetSDK.conference.mute({}, true), isNotAvailable);
  assert.throws(() => VoxeetSDK.conference.isMuted(), /VoxeetSDK\.conference\.isMuted is not available/);
  const { conference, session } = VoxeetSDK;
  assert.equal(conference.on('streamAdded', assert.fail).once('left', assert.fail).removeAllListeners(), conference);
  assert.equal(session.on('participantUpdated', assert.fail), session);
  assert.equal(conference.current, null);
  assert.deepEqual([...conference.participants.values()], []);
  conference.leaveConferenceOnBeforeUnload = true;
  for (const work of [() => conference.create({ alias: 'x' }), () => VoxeetSDK.command.send('x'), () => VoxeetSDK.notification.invite({}, [])])
    await assert.rejects(work, errors.NotInitializedError);
  const calls = [];
  const media = { startAudio: async () => calls.push('startAudio'), isMuted: () => true, audio: { local: { start: async () => calls.push('local') } } };
  const own = createVoxeetSDK();
  own.configure({ url: 'http://service', media });
  await own.conference.startAudio({});
  await own.audio.local.start();
  assert.equal(own.conference.isMuted(), true);
  assert.deepEqual(calls, ['startAudio', 'local']);
  await assert.rejects(own.video.local.start(), /configure\(\{ media: \{ video: \{ local: \{ start \} \} \} \}\)/);
});

/** A page with an open session; `log` has the events of its conference. */
const enter = async (service, externalId) => {
  const VoxeetSDK = make(service);
  const log = [];
  const { conference, command } = VoxeetSDK;
  for (const name of ['joined', 'left', 'ended']) conference.on(name, () => log.push(name));
  conference.on('error', (error) => log.push(`error ${error.message}`));
  for (const name of ['participantAdded', 'participantUpdated'])
    conference.on(name, ({ info, status }) => log.push(`${name} ${info.name} ${status}`));
  command.on('received', ({ info }, message) => log.push(`${info.name}: ${message}`));
  VoxeetSDK.initializeToken(token(externalId), () => token(externalId));
  await VoxeetSDK.session.open({ name: externalId });
  return Object.assign(VoxeetSDK, { log });
};
const until = async (is) => {
  for (let waited = 0; !is(); waited += 1) {
    assert.ok(waited < 3000, `did not come true: ${is}`);
    await sleep(1);
  }
};

test('conferences as apps have them: create, join, participants, commands, kick, leave', async () => {
  const service = new FakeService();
  const [one, two] = [await enter(service, 'anna'), await enter(service, 'ben')];
  const conference = await one.conference.create({ alias: 'StandUp', params: { dolbyVoice: true } });
  assert.deepEqual([conference.alias, conference.isNew, conference.status, conference.participants.size], ['standup', true, 'created', 0]);
  assert.equal(await one.conference.join(conference, { constraints: { audio: false } }), conference);
  assert.equal(one.conference.current, conference);
  assert.equal(conference.status, 'joined');
  await two.conference.join(await two.conference.fetch(conference.id), {});
  await until(() => one.log.includes('participantAdded ben Connected') && two.log.includes('participantAdded anna Connected'));
  assert.deepEqual([...one.conference.participants.keys()], [participantId('anna'), participantId('ben')]);
  await two.command.send('hello');
  await until(() => one.log.includes('ben: hello'));
  await one.conference.kick(one.conference.participants.get(participantId('ben')));
  await until(() => two.log.includes('left') && one.log.includes('participantUpdated ben Kicked'));
  assert.equal(two.conference.current, null);
  await assert.rejects(two.conference.join(conference, {}), errors.KeptOutError);
  assert.match(two.log.at(-1), /^error .*kicked/);
  service.rooms.end('standup');
  await until(() => one.log.includes('ended'));
  assert.equal(conference.status, 'ended');
  await one.conference.join(await one.conference.create({ alias: 'other' }), {});
  await one.conference.leave({ leaveRoom: true });
  assert.equal(one.session.isOpen(), false);
  for (const each of [one, two]) each.greenroom.dispose();
});

test('notifications: an invitation, and a conference that is subscribed to', async () => {
  const service = new FakeService();
  const [one, two] = [await enter(service, 'anna'), await enter(service, 'ben')];
  const heard = [];
  for (const name of ['conferenceStatus', 'conferenceCreated', 'participantJoined', 'participantLeft', 'activeParticipants', 'conferenceEnded'])
    two.notification.on(name, ({ conferenceAlias, participant }) => heard.push([name, conferenceAlias, participant?.status].join(' ').trim()));
  const types = ['Conference.Created', 'Conference.Ended', 'Participant.Joined', 'Participant.Left', 'Conference.ActiveParticipants'];
  const subscriptions = [{ type: 'Invitation' }, ...types.map((type) => ({ type, conferenceAlias: 'a' }))];
  await two.notification.subscribe(subscriptions);
  const conference = await one.conference.join(await one.conference.create({ alias: 'a' }), {});
  await one.notification.invite(conference, [{ externalId: 'ben', name: 'Ben' }]);
  const invitation = await new Promise((resolve) => two.notification.once('invitation', resolve));
  assert.equal(invitation.participant.info.name, 'anna');
  assert.equal((await two.conference.fetch(invitation.conferenceId)).alias, 'a');
  await until(() => one.log.includes('participantAdded ben Reserved'));
  await two.notification.decline(conference);
  await until(() => one.log.includes('participantUpdated ben Decline'));
  await one.conference.leave();
  await until(() => heard.at(-1) === 'conferenceEnded a');
  assert.deepEqual(heard, [
    'conferenceStatus a', 'conferenceCreated a', 'participantJoined a Connected', 'activeParticipants a',
    'participantLeft a Left', 'activeParticipants a', 'conferenceEnded a',
  ]);
  await two.notification.unsubscribe(subscriptions);
  assert.ok(![...service.sessions.values()].some((socket) => socket.watchingRooms.size));
  for (const each of [one, two]) each.greenroom.dispose();
});

test('listeners: once, off, and one that throws', () => {
  const { conference } = make();
  const calls = [];
  const { error: print } = console;
  console.error = (...words) => calls.push(words[0]);
  const listener = (value) => calls.push(value);
  conference.once('x', listener).on('x', () => assert.fail()).on('x', listener);
  assert.equal(conference.emit('x', 1), true);
  console.error = print;
  assert.deepEqual(calls, [1, 'greenroom: a listener threw', 1]);
  assert.equal(conference.off('x', listener).listenerCount('x'), 1);
  assert.equal(conference.removeAllListeners('x').emit('x', 2), false);
});

/** What `<script src>` leaves in a page: `VoxeetSDK`, and the addresses that it dialled. */
const page = async (script) => {
  const service = new FakeService();
  const dialled = [];
  class WebSocket extends service.WebSocket {
    constructor(url) {
      super(url);
      dialled.push(url);
    }
  }
  const { crypto, atob, setTimeout, clearTimeout, performance, console } = globalThis;
  const context = createContext({
    WebSocket, crypto, atob, setTimeout, clearTimeout, performance, console, queueMicrotask,
    document: { currentScript: script, addEventListener() {} },
  });
  const before = new Set(Object.keys(context));
  runInContext(await bundle('web-compat/global.js', 'iife'), context);
  return { VoxeetSDK: context.VoxeetSDK, dialled, made: Object.keys(context).filter((name) => !before.has(name)) };
};

for (const [name, script, wanted] of [
  ["the service's own", { src: 'https://a.example/sdk/voxeet-sdk.js', dataset: {} }, 'wss://a.example/v1/session'],
  ['under a path', { src: 'https://a.example/rt/sdk/x/voxeet-sdk.js?1', dataset: {} }, 'wss://a.example/rt/v1/session'],
  ['data-url', { src: 'https://c.example/x.js', dataset: { url: 'https://b.example' } }, 'wss://b.example/v1/session'],
])
  test(`<script src> gives the global VoxeetSDK and nothing else; the service is found: ${name}`, async () => {
    const { VoxeetSDK, dialled, made } = await page(script);
    assert.deepEqual(made, ['VoxeetSDK']);
    VoxeetSDK.initializeToken(token('anna'));
    await VoxeetSDK.session.open({ name: 'Anna' });
    assert.equal(VoxeetSDK.session.isOpen(), true);
    assert.deepEqual(dialled, [wanted]);
    VoxeetSDK.greenroom.dispose();
  });

test('<script src> from elsewhere, without data-url: configure says where the service is', async () => {
  const { VoxeetSDK } = await page({ src: 'https://cdn.example/dist/voxeet-sdk.js', dataset: {} });
  await assert.rejects(VoxeetSDK.initialize('key', 'secret'), { code: 'notConfigured' });
  VoxeetSDK.configure({ url: 'https://a.example' });
  await VoxeetSDK.initialize('key', 'secret');
});

test('members that are known here are those that the types declare', async () => {
  const { readFile } = await import('node:fs/promises');
  const { INFO, OPTIONS } = await import('../compat/members.js');
  const types = await readFile(new URL('../src/index.d.ts', import.meta.url), 'utf8');
  const declared = (type) => {
    const [, body] = new RegExp(`^export interface ${type} \\{\\n([^]*?)^\\}`, 'm').exec(types);
    return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, name]) => name);
  };
  assert.deepEqual(declared('GreenroomOptions'), OPTIONS);
  const unknownToThePlatform = ['attributes'];
  assert.deepEqual(declared('ParticipantInfo'), [...INFO, ...unknownToThePlatform]);
});
