/**
 * The unchanged JavaScript layer of @dolbyio/comms-sdk-react-native 3.10.1, three apps of it, and a page of the Web SDK over
 * @greenroom/web-compat, in conferences of a running service.
 * usage: node --import ./test/support/resolve.mjs conferences.mjs
 *   '{"url": …, "key": …, "secret": …, "tokens": {"ada": …, "ben": …, "eve": …, "web": …}}'
 * (run by tests/browser/test_node.py)
 */
import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
// First: what is loaded here, the platform's CommonJS finds loaded.
import { Bridge } from '../react-native-compat/index.js';
import { createVoxeetSDK } from '../web-compat/voxeet.js';
import { loadPlatform } from '../test/support/react-native.mjs';

const { url, key, secret, tokens } = JSON.parse(process.argv[2]);
const until = async (is, what) => {
  for (let waited = 0; !is(); waited += 10) {
    if (waited > 20_000) assert.fail(`did not come true: ${what()}`);
    await sleep(10);
  }
};
const logged = (one, ...words) => until(() => words.every((word) => one.log.includes(word)), () => `${words} in ${one.log.join(' | ')}`);
const shown = ({ info, status }) => `${info.name} ${status}`.toLowerCase();

const bridges = [];
const enter = async (name, media) => {
  const bridge = new Bridge();
  bridges.push(bridge);
  bridge.configure({ url, webSocket: WebSocket, media });
  const { default: api } = loadPlatform(bridge);
  const log = [];
  api.conference.onStatusChange(({ status }) => log.push(status));
  api.conference.onParticipantsChange(({ participant }, type) => log.push(`${type.split('_').at(-1)} ${shown(participant)}`));
  api.command.onMessageReceived(({ participant, message }) => log.push(`${participant.info.name}: ${message}`));
  api.notification.onInvitationReceived((event) => log.push('invited') && (api.invitation = event));
  for (const event of ['ConferenceStatus', 'ConferenceCreated', 'ConferenceEnded', 'ParticipantJoined', 'ParticipantLeft'])
    api.notification[`on${event}`](({ participant }) => log.push([event, participant?.info.name].filter(Boolean).join(' ')));
  await api.initializeToken(tokens[name], async () => tokens[name]);
  await api.session.open({ name });
  return Object.assign(api, { log });
};

const media = [];
const [ada, ben, eve] = [
  await enter('ada', { join: async ({ alias }) => media.push(`join ${alias}`), leave: () => media.push('leave') }),
  await enter('ben'),
  await enter('eve'),
];

// Subscribe first; create, join, roster.
const types = ['CONFERENCE_CREATED', 'CONFERENCE_ENDED', 'PARTICIPANT_JOINED', 'PARTICIPANT_LEFT'];
const subscriptions = types.map((type) => ({ type: `SUBSCRIPTION_TYPE_${type}`, conferenceAlias: 'Stand-Up' }));
await eve.notification.subscribe(subscriptions);
const created = await ada.conference.create({ alias: '#Stand-Up', params: { ttl: 0, dolbyVoice: true } });
assert.deepEqual([created.alias, created.isNew, created.status], ['stand-up', true, 'CREATED']);
const conference = await ada.conference.join(created, { constraints: { audio: true, video: false } });
assert.equal(conference.id, created.id);
await ben.conference.join(await ben.conference.fetch(created.id));
await logged(ada, 'JOINED', 'ADDED ben connected');
await logged(ben, 'JOINED', 'ADDED ada connected');
await logged(eve, 'ConferenceStatus', 'ConferenceCreated', 'ParticipantJoined ada', 'ParticipantJoined ben');
assert.equal((await eve.conference.create({ alias: 'stand-up' })).isNew, false);
assert.deepEqual((await eve.conference.getParticipants(created)).map(shown).sort(), ['ada connected', 'ben connected']);
assert.equal(await ada.conference.getStatus(created), 'JOINED');
assert.equal((await ben.conference.current()).alias, 'stand-up');

// Messages.
await ben.command.send('hello');
await logged(ada, 'ben: hello');
assert.ok(!ben.log.includes('ben: hello'));

// Invite, decline, invite again, join.
await ada.notification.invite(conference, [{ info: { externalId: 'eve' } }]);
await logged(ada, 'ADDED eve reserved');
await logged(eve, 'invited');
await eve.notification.decline(await eve.conference.fetch(eve.invitation.conferenceId));
await logged(ada, 'UPDATED eve decline');
await ada.notification.invite(conference, [{ info: { externalId: 'eve' } }]);
await logged(ada, 'UPDATED eve reserved');
await until(() => eve.log.filter((one) => one === 'invited').length === 2, () => eve.log.join(' | '));
await eve.conference.join({ id: eve.invitation.conferenceId, alias: eve.invitation.conferenceAlias });
await logged(ada, 'UPDATED eve connected');
await logged(ben, 'ADDED eve connected');

// A page of the Web SDK in the same conference.
const VoxeetSDK = createVoxeetSDK(url);
VoxeetSDK.configure({ url, webSocket: WebSocket });
await VoxeetSDK.initializeToken(tokens.web, () => tokens.web);
await VoxeetSDK.session.open({ name: 'web' });
const page = { log: [] };
VoxeetSDK.conference.on('joined', () => page.log.push('joined')).on('left', () => page.log.push('left'));
VoxeetSDK.command.on('received', ({ info }, message) => page.log.push(`${info.name}: ${message}`));
await VoxeetSDK.conference.join(await VoxeetSDK.conference.create({ alias: 'Stand-Up' }), {});
assert.deepEqual([...VoxeetSDK.conference.participants.values()].map(shown).sort(), ['ada connected', 'ben connected', 'eve connected', 'web connected']);
await logged(ada, 'ADDED web connected');
await eve.command.send('{"hand":"up"}');
await logged(page, 'joined', 'eve: {"hand":"up"}');
await VoxeetSDK.command.send('from the web');
await logged(ben, 'web: from the web');
await VoxeetSDK.conference.leave();
await logged(ada, 'UPDATED web left');
assert.deepEqual(page.log.at(-1), 'left');
await VoxeetSDK.session.close();
VoxeetSDK.greenroom.dispose();

// Kick: by who opened it.
const participants = await ada.conference.getParticipants(conference);
await assert.rejects(eve.conference.kick(participants.find(({ info }) => info.name === 'ada')), { code: 'error', reason: 'Room_permission_missing' });
await ada.conference.kick(participants.find(({ info }) => info.name === 'ben'));
await logged(ada, 'UPDATED ben kicked');
await logged(ben, 'UPDATED ben kicked', 'LEFT');
assert.equal(await ben.conference.current(), null);
await assert.rejects(ben.conference.join(conference), { code: 'error', reason: 'Kept_out' });

// Leave, close, and the end of the conference.
await ada.conference.leave();
await logged(eve, 'UPDATED ada left', 'ParticipantLeft ada');
assert.deepEqual(media, ['join stand-up', 'leave']);
await assert.rejects(ada.command.send('x'), { code: 'error' });
await ada.notification.subscribe(subscriptions.slice(1, 2));
await eve.conference.leave({ leaveRoom: true });
assert.equal(await eve.session.isOpen(), false);
await logged(ada, 'ConferenceEnded');
await ada.notification.unsubscribe(subscriptions.slice(1, 2));

// A conference that the backend has created over REST, as backends of the platform do: by its id, and an invitation.
const rest = async (path, options) => {
  const reply = await fetch(url + path, options);
  assert.ok(reply.ok, `${path}: ${reply.status} ${await reply.clone().text()}`);
  return reply.json().catch(() => undefined);
};
const scope = 'comms:conf:create comms:conf:admin';
const { access_token: apiToken } = await rest('/v1/auth/token', {
  method: 'POST',
  headers: { Authorization: `Basic ${btoa(`${key}:${secret}`)}` },
  body: new URLSearchParams({ grant_type: 'client_credentials', scope }),
});
const headers = { Authorization: `Bearer ${apiToken}`, 'Content-Type': 'application/json' };
const post = (path, body) => rest(path, { method: 'POST', headers, body: JSON.stringify(body) });
const { conferenceId } = await post('/v2/conferences/create', { alias: 'Backend', participants: { ada: { notification: true } } });
await logged(ada, 'invited');
assert.deepEqual([ada.invitation.conferenceId, ada.invitation.conferenceAlias], [conferenceId, 'backend']);
await ben.conference.join(await ben.conference.fetch(conferenceId));
await ada.conference.join(await ada.conference.fetch(ada.invitation.conferenceId));
const { participants: listed } = await rest(`/v2/conferences/${conferenceId}/participants`, { headers });
assert.deepEqual(listed.map(({ externalId }) => externalId).sort(), ['ada', 'ben']);
await post(`/v2/conferences/${conferenceId}/message`, { from: 'ben', message: 'from the backend' });
await logged(ada, 'ben: from the backend');
await post(`/v2/conferences/${conferenceId}/kick`, { externalIds: ['ben'] });
await logged(ada, 'UPDATED ben kicked');
assert.equal(await ben.conference.current(), null);

for (const one of [ada, ben]) await one.session.close();
for (const bridge of bridges) bridge.sdk.dispose();
console.log('ok');
