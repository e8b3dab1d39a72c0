/**
 * The unchanged JavaScript layer of @dolbyio/comms-sdk-react-native, several apps of it in this process: conferences,
 * commands and notifications. e2e/conferences.mjs does the same against the real service.
 */
import { strict as assert } from 'node:assert';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import './support/resolve.mjs';
import { FakeService, participantId, token } from './support/service.mjs';

const { Bridge } = await import('../react-native-compat/bridge.js');
const { loadPlatform } = await import('./support/react-native.mjs');

const [anna, ben, chloe] = ['anna', 'ben', 'chloe'].map(participantId);
let service;
let bridges;

beforeEach(() => {
  service = new FakeService();
  bridges = [];
});
afterEach(() => {
  for (const bridge of bridges) bridge.sdk?.dispose();
});

/** An app with an open session; `log` has its events. */
const enter = async (externalId, media) => {
  const bridge = new Bridge();
  bridges.push(bridge);
  bridge.configure({ url: 'http://service', webSocket: service.WebSocket, media });
  const { default: api } = loadPlatform(bridge);
  const log = [];
  const say = (...words) => log.push(words.filter((one) => one !== undefined).join(' '));
  const who = ({ info, status }) => `${info.name} ${status}`;
  api.conference.onStatusChange(({ status }) => say(status));
  api.conference.onParticipantsChange(({ participant }, type) => say(type.split('_').at(-1), who(participant)));
  api.command.onMessageReceived(({ participant, message }) => say('message', participant.info.name, message));
  await api.initializeToken(token(externalId), async () => token(externalId));
  await api.session.open({ name: externalId });
  return Object.assign(api, { log, bridge });
};
const until = async (is, what = () => is) => {
  for (let waited = 0; !is(); waited += 1) {
    assert.ok(waited < 3000, `did not come true: ${what()}`);
    await sleep(1);
  }
};
const logged = (one, ...words) => until(() => words.every((word) => one.log.includes(word)), () => `${words} in ${one.log}`);
const people = async (one, conference) =>
  (await one.conference.getParticipants(conference)).map(({ info, status }) => `${info.name} ${status}`).sort();
const refused = (work, message) =>
  assert.rejects(work, (error) => {
    assert.equal(error.code, 'error');
    assert.match(error.message, message);
    return true;
  });

test('create, join, roster, events, messages, leave: three apps', async () => {
  const [one, two, three] = [await enter('anna'), await enter('ben'), await enter('chloe')];
  const created = await one.conference.create({ alias: 'Stand#Up', params: { ttl: 3600, dolbyVoice: true } });
  assert.deepEqual({ ...created, id: undefined }, { id: undefined, alias: 'standup', isNew: true, participants: [], status: 'CREATED', spatialAudioStyle: undefined });
  assert.equal(await one.conference.current(), null);
  const joined = await one.conference.join(created, { constraints: { audio: true, video: false } });
  assert.equal(joined.status, 'JOINED');
  assert.deepEqual((await one.conference.current()).id, created.id);
  assert.deepEqual(one.log, ['CREATING', 'CREATED', 'JOINING', 'JOINED']);

  const again = await two.conference.create({ alias: 'STANDUP' });
  assert.deepEqual([again.id, again.isNew, again.participants.length], [created.id, false, 1]);
  await two.conference.join(again);
  await logged(one, 'ADDED ben CONNECTED');
  await logged(two, 'ADDED anna CONNECTED');
  await three.conference.join(await three.conference.fetch(created.id));
  await logged(one, 'ADDED chloe CONNECTED');
  assert.deepEqual(await people(three, created), ['anna CONNECTED', 'ben CONNECTED', 'chloe CONNECTED']);
  assert.equal((await three.conference.getParticipant(ben)).info.name, 'ben');
  await refused(three.conference.getParticipant('nobody'), /^Couldn't get the participant$/);

  await two.command.send('hello');
  await two.command.send(JSON.stringify({ hand: 'up' }));
  for (const each of [one, three]) await logged(each, 'message ben hello', 'message ben {"hand":"up"}');
  assert.ok(!two.log.some((line) => line.startsWith('message')));

  await two.session.updateParticipantInfo('Benjamin', '');
  await logged(one, 'UPDATED Benjamin CONNECTED');
  await two.conference.leave();
  await logged(one, 'UPDATED Benjamin LEFT');
  assert.deepEqual(two.log.slice(-2), ['LEAVING', 'LEFT']);
  assert.equal(await two.conference.current(), null);
  assert.deepEqual(await people(one, created), ['Benjamin LEFT', 'anna CONNECTED', 'chloe CONNECTED']);
  assert.equal(await one.conference.getStatus(created), 'JOINED');
  await refused(two.command.send('x'), /Couldn't find the conference/);
  await two.conference.leave(); // apps clean up twice

  // Leaving with leaveRoom closes the session, and so does the end of a session leave.
  await three.conference.leave({ leaveRoom: true });
  assert.equal(await three.session.isOpen(), false);
  await logged(one, 'UPDATED chloe LEFT');
  await one.session.close();
  await logged(one, 'LEFT');
  assert.ok(!service.rooms.rooms.size);
});

test('kick, and the end of a conference', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const conference = await one.conference.join(await one.conference.create({ alias: 'a' }));
  await two.conference.join(await two.conference.fetch('a'));
  await logged(one, 'ADDED ben CONNECTED');
  await one.conference.kick(await one.conference.getParticipant(ben));
  await logged(one, 'UPDATED ben KICKED');
  await logged(two, 'UPDATED ben KICKED', 'LEFT');
  await refused(two.conference.join(conference), /kicked out/);
  assert.equal(two.log.at(-1), 'ERROR');
  service.rooms.end('a');
  await logged(one, 'ENDED');
  assert.equal(await one.conference.current(), null);
});

test('invite, decline, and an invitation that waited: RESERVED and DECLINE', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const conference = await one.conference.join(await one.conference.create({ alias: 'a' }));
  const invited = [];
  two.notification.onInvitationReceived((event) => invited.push(event));
  await one.notification.invite(conference, [{ info: { externalId: 'ben' } }, { info: { externalId: 'chloe' }, permissions: [] }]);
  await until(() => invited.length === 1);
  const { participant, ...rest } = invited[0];
  assert.deepEqual(rest, { conferenceAlias: 'a', conferenceId: conference.id, conferenceToken: '' });
  assert.deepEqual([participant.id, participant.info.name], [anna, 'anna']);
  await logged(one, 'ADDED ben RESERVED');
  await two.notification.decline(await two.conference.fetch(invited[0].conferenceId));
  await logged(one, 'UPDATED ben DECLINE');
  await refused(two.notification.decline(conference), /no invitation/);
  assert.deepEqual((await people(one, conference)).slice(1), ['ben DECLINE', 'undefined RESERVED']);

  // Chloe was not there. She comes, listens later, and joins: that accepts.
  const three = await enter('chloe');
  const late = [];
  await sleep(5);
  three.notification.onInvitationReceived((event) => late.push(event));
  await until(() => late.length === 1);
  await three.conference.join(await three.conference.fetch(late[0].conferenceId));
  await logged(one, 'UPDATED chloe CONNECTED');
  assert.deepEqual(service.rooms.invitationsOf(chloe), []);
  await refused(one.notification.invite(conference, [{ info: { name: 'Dora' } }]), /needs an externalId/);
});

test('subscribe and unsubscribe: what happens in a conference without being in it', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const heard = [];
  const { notification } = one;
  for (const name of ['ConferenceStatus', 'ConferenceCreated', 'ConferenceEnded', 'ParticipantJoined', 'ParticipantLeft', 'ActiveParticipants'])
    notification[`on${name}`](({ conferenceAlias, participant, participantCount, live }) =>
      heard.push([name, conferenceAlias, participant?.info.name ?? participantCount ?? live].filter((word) => word !== undefined).join(' ')),
    );
  const types = ['CONFERENCE_CREATED', 'CONFERENCE_ENDED', 'PARTICIPANT_JOINED', 'PARTICIPANT_LEFT', 'ACTIVE_PARTICIPANTS', 'INVITATION_RECEIVED'];
  const subscriptions = types.map((type) => ({ type: `SUBSCRIPTION_TYPE_${type}`, conferenceAlias: 'A' }));
  await notification.subscribe(subscriptions);
  const conference = await two.conference.join(await two.conference.create({ alias: 'a' }));
  await two.conference.leave();
  await until(() => heard.includes('ConferenceEnded a'));
  assert.deepEqual(heard, [
    'ConferenceStatus a false', 'ConferenceCreated a', 'ParticipantJoined a ben', 'ActiveParticipants a 1',
    'ParticipantLeft a ben', 'ActiveParticipants a 0', 'ConferenceEnded a',
  ]);
  await one.conference.fetch(conference.alias); // a look does not end what was subscribed to
  await notification.unsubscribe(subscriptions.slice(1));
  await two.conference.join(conference);
  await until(() => heard.length === 8);
  await notification.unsubscribe(subscriptions);
  await two.conference.leave();
  await sleep(5);
  assert.deepEqual(heard.slice(7), ['ConferenceCreated a']);
  assert.ok(![...service.sessions.values()].some((socket) => socket.watchingRooms.size));
  await refused(notification.subscribe([{ type: 'SUBSCRIPTION_TYPE_X', conferenceAlias: 'a' }]), /Incorrect type/);
});

test("the app's own media layer is called, and what it lacks says how to give it", async () => {
  const calls = [];
  let fails = false;
  const media = {
    join: async ({ alias }, options) => {
      calls.push(['join', alias, options]);
      if (fails) throw new Error('no microphone');
    },
    leave: () => calls.push(['leave']),
    startAudio: async ({ id }) => calls.push(['startAudio', id]),
    localAudio: { start: async () => calls.push(['localAudio.start']) },
  };
  const one = await enter('anna', media);
  const conference = await one.conference.create(); // without an alias: a name of its own
  assert.match(conference.alias, /^[0-9a-f]{32}$/);
  await one.conference.join(conference, { constraints: { audio: true } });
  await one.conference.startAudio({ id: anna });
  await one.audio.getLocal().start();
  const streams = [];
  one.conference.onStreamsChange(({ stream }) => streams.push(stream));
  one.bridge.emit('EVENT_CONFERENCE_STREAM_ADDED', { participant: {}, stream: 's' });
  assert.deepEqual(streams, ['s']);
  await assert.rejects(one.conference.startVideo({ id: anna }), (error) => {
    assert.equal(error.code, 'notAvailable');
    return /is not available: Greenroom has.*configure\(\{ media: \{ startVideo \} \}\)/.test(error.message);
  });
  await assert.rejects(one.video.getLocal().start(), /configure\(\{ media: \{ localVideo: \{ start \} \} \}\)/);
  service.rooms.end(conference.alias);
  await logged(one, 'ENDED');
  fails = true;
  await refused(one.conference.join({ alias: 'b' }), /no microphone/);
  assert.equal(one.log.at(-1), 'ERROR');
  assert.deepEqual(calls.map(([name]) => name), ['join', 'startAudio', 'localAudio.start', 'leave', 'join', 'leave']);
  assert.deepEqual(calls[0].slice(1), [conference.alias, { constraints: { audio: true } }]);
  assert.equal(service.rooms.rooms.has('b'), false);
});

test('a lost connection goes unnoticed, a lost session joins again', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const conference = await one.conference.join(await one.conference.create({ alias: 'a' }));
  await two.conference.join(await two.conference.create({ alias: 'b' }));
  service.sessions.get('s1').lose();
  await two.conference.join(conference); // leaves b
  await logged(one, 'ADDED ben CONNECTED');
  assert.equal(service.rooms.rooms.has('b'), false);
  service.forgetAll();
  await until(() => service.rooms.rooms.get('a')?.members.size === 2);
  await until(() => one.bridge.sdk.session.state === 'connected');
  assert.equal((await one.conference.current()).id, conference.id);
  await two.command.send('still here');
  await logged(one, 'message ben still here');
});

test('before a session, and without the right to look', async () => {
  const bridge = new Bridge();
  bridges.push(bridge);
  const { default: api } = loadPlatform(bridge);
  await refused(api.conference.create({ alias: 'a' }), /initializeToken or initialize first/);
  assert.equal(await api.conference.current(), null);
  const one = await enter('anna');
  service.rooms.methods['rooms.watch'] = () => {
    throw { code: -32052, message: 'The token lacks notifications:set.', data: { scope: 'notifications:set' } };
  };
  const conference = await one.conference.join(await one.conference.create({ alias: 'a' }));
  assert.deepEqual([conference.isNew, conference.status], [true, 'JOINED']);
  await refused(one.notification.subscribe([{ type: 'SUBSCRIPTION_TYPE_PARTICIPANT_LEFT', conferenceAlias: 'x' }]), /notifications:set/);
});
