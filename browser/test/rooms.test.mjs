/** Rooms of the SDK, of its sources and of the module that is published, against a service in this process. */
import { strict as assert } from 'node:assert';
import { afterEach, beforeEach, test as run } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundle } from '../scripts/build.mjs';
import * as sources from '../src/index.js';
import { FakeService, participantId, token } from './support/service.mjs';

const [anna, ben, chloe] = ['anna', 'ben', 'chloe'].map(participantId);
const published = await import(`data:text/javascript,${encodeURIComponent(await bundle())}`);
let { Greenroom, errors } = sources;
let service;
let opened;

/** With both. */
const test = (name, work) => {
  for (const [which, module] of Object.entries({ sources, published }))
    run(`${name} (${which})`, async () => {
      ({ Greenroom, errors } = module);
      await work();
    });
};

beforeEach(() => {
  service = new FakeService();
  opened = [];
});
afterEach(() => {
  for (const sdk of opened) sdk.dispose();
});

const enter = async (externalId) => {
  const sdk = new Greenroom('http://service', { webSocket: service.WebSocket });
  opened.push(sdk);
  sdk.initializeToken(token(externalId));
  await sdk.session.open({ name: externalId });
  return sdk;
};
const until = async (is) => {
  for (let waited = 0; !is(); waited += 1) {
    assert.ok(waited < 2000, `did not come true: ${is}`);
    await sleep(1);
  }
};
const names = (room) => [...room.members.values()].map(({ info }) => info.name).sort().join(' ');
/** What a room reports from now on. */
const record = (room) => {
  const log = [];
  for (const name of ['joined', 'left', 'message', 'missed', 'closed'])
    room.on(name, (value, sender) => log.push([name, value.info?.name ?? value.reason ?? value.member?.info.name ?? value, sender?.info?.name].filter(Boolean).join(' ')));
  return log;
};

test('join, roster, message, leave', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const room = await one.rooms.join('standup');
  assert.equal(room.name, 'standup');
  assert.deepEqual([names(room), room.count, room.isMember], ['anna', 1, true]);
  const log = record(room);
  const other = await two.rooms.join('standup');
  assert.equal(names(other), 'anna ben');
  assert.equal(other.id, room.id);
  await until(() => names(room) === 'anna ben');
  await other.send({ hand: 'up' });
  await until(() => log.length === 2);
  assert.deepEqual(log, ['joined ben', 'message [object Object] ben']);
  await two.session.updateParticipantInfo('Benjamin');
  await until(() => names(room) === 'Benjamin anna');
  await other.leave();
  assert.deepEqual([other.isMember, other.isClosed], [false, true]);
  await until(() => names(room) === 'anna');
  assert.deepEqual(log.slice(2), ['left left']);
  await assert.rejects(other.send('x'), errors.NotAMemberError);
  await other.leave();
});

test('a watch that is not allowed any more ends with its reason, and a member sees nobody', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const [room, seen, other] = [await one.rooms.join('standup'), await one.rooms.watch('hall'), await two.rooms.join('standup')];
  await until(() => room.count === 2);
  assert.deepEqual(one.rooms.joined, [room]);
  const [log, end] = [record(room), record(seen)];
  for (const name of ['standup', 'hall']) service.rooms.unwatch(anna, name);
  await until(() => seen.isClosed && room.count === 0);
  await other.send('still there');
  await until(() => log.length === 3);
  assert.deepEqual([log, end], [['left anna', 'left ben', 'message still there'], ['closed permission_lost']]);
  assert.deepEqual([room.isMember, room.members.size], [true, 0]);
});

test('a repeated join is the same room, and a join after a leave is another one', async () => {
  const sdk = await enter('anna');
  const [room, again] = await Promise.all([sdk.rooms.join('r'), sdk.rooms.join('r')]);
  assert.equal(room, again);
  const left = room.leave();
  const next = await sdk.rooms.join('r');
  await left;
  assert.notEqual(next, room);
  assert.deepEqual([room.isMember, next.isMember, names(next)], [false, true, 'anna']);
});

test('a join that is aborted leaves, and one that others wait for does not', async () => {
  const sdk = await enter('anna');
  const controller = new AbortController();
  const { signal } = controller;
  const [first, other] = [sdk.rooms.join('r', { signal }), sdk.rooms.join('other', { signal })];
  const second = sdk.rooms.join('r');
  controller.abort();
  await assert.rejects(first, { name: 'AbortError' });
  await assert.rejects(other, { name: 'AbortError' });
  await assert.rejects(sdk.rooms.join('r', { signal }), { name: 'AbortError' });
  assert.ok((await second).isMember);
  await until(() => service.requests.includes('rooms.leave'));
  assert.deepEqual([...service.rooms.rooms.keys()], ['r']);
});

test('a slow reader gets several changes as one: who came and went is in neither', async () => {
  const [one, two, three] = [await enter('anna'), await enter('ben'), await enter('chloe')];
  const room = await one.rooms.join('r');
  const changes = room[Symbol.asyncIterator]();
  const first = changes.next();
  await two.rooms.join('r');
  const { value } = await first;
  assert.deepEqual(value.joined.map(({ id }) => id), [ben]);
  const passing = await three.rooms.join('r');
  await two.session.updateParticipantInfo('Benjamin');
  await passing.leave();
  await until(() => names(room) === 'Benjamin anna');
  const { value: second } = await changes.next();
  assert.deepEqual([second.joined, second.left, second.changed.map(({ info }) => info.name)], [[], [], ['Benjamin']]);
  const end = changes.next();
  await room.leave();
  assert.deepEqual(await end, { done: true, value: undefined });
  for await (const change of room) assert.fail(change);
});

test('who watches sees the roster and no messages, and goes on watching after a leave', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const watched = await one.rooms.watch('r');
  assert.deepEqual([watched.count, watched.version, watched.isMember], [0, 0, false]);
  const log = record(watched);
  const other = await two.rooms.join('r');
  await until(() => watched.count === 1);
  await other.send('x');
  const joined = await one.rooms.join('r');
  assert.notEqual(joined, watched);
  await joined.leave();
  await until(() => names(watched) === 'ben');
  await other.leave();
  await until(() => watched.count === 0);
  assert.ok(!log.some((one) => one.startsWith('message')), log.join());
  await watched.leave();
  assert.ok(![...service.sessions.values()].some((socket) => socket.watchingRooms.has('r')));
});

test('a room that is opened while it is watched has its id', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const seen = await one.rooms.watch('r');
  assert.equal(seen.id, undefined);
  const room = await two.rooms.join('r');
  await until(() => seen.count === 1);
  assert.ok(seen.id);
  assert.equal(seen.id, room.id);
});

test('a roster of several pages fills, with what changes meanwhile', async () => {
  const sdk = await enter('anna');
  service.rooms.pageSize = 2;
  const others = [];
  for (const name of ['ben', 'chloe', 'dora', 'emil']) others.push(await enter(name).then((one) => one.rooms.join('r')));
  const joining = sdk.rooms.join('r');
  await others[0].leave();
  const room = await joining;
  await until(() => names(room) === 'anna chloe dora emil');
  assert.equal(room.count, 4);
});

test('a counted room has a count, and its members by page', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  await one.rooms.create('big', { detailed: false });
  const room = await one.rooms.join('big');
  await two.rooms.join('big');
  await until(() => room.count === 2);
  assert.deepEqual([room.isDetailed, room.members.size], [false, 0]);
  service.rooms.pageSize = 1;
  const found = [];
  for await (const { id } of room.allMembers()) found.push(id);
  assert.deepEqual(found, [anna, ben].sort());
});

test('a lost connection keeps the membership, and brings what has changed', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const room = await one.rooms.join('r');
  const log = record(room);
  service.sessions.get('s1').lose();
  await two.rooms.join('r');
  await until(() => one.session.state === 'connected' && names(room) === 'anna ben');
  assert.deepEqual(log, ['joined ben']);
  assert.ok(room.isMember);
  assert.equal(service.requests.filter((method) => method === 'rooms.join').length, 2);
});

test('a session that is gone is opened again, and joins again; a refusal closes the room', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const [room, other, watched] = [await one.rooms.join('r'), await one.rooms.join('s'), await one.rooms.watch('w')];
  await two.rooms.join('r');
  await two.rooms.join('s');
  await until(() => names(other) === 'anna ben');
  const log = record(other);
  service.rooms.rooms.get('s').keptOut.add(anna);
  service.forgetAll();
  await until(() => other.isClosed && names(room) === 'anna ben' && room.count === 2);
  assert.ok(room.isMember);
  assert.equal(log.at(-1), 'closed kept_out');
  const third = await enter('chloe');
  await third.rooms.join('w');
  await until(() => names(watched) === 'chloe');
});

test('kicked, or the room was ended: the room closes and says why', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const [room, other] = [await one.rooms.join('r'), await two.rooms.join('r')];
  const [log, logOther] = [record(room), record(other)];
  await room.kick(ben);
  await until(() => other.isClosed && log.length);
  assert.deepEqual(logOther.at(-1), 'closed kicked');
  assert.deepEqual(log.at(-1), 'left kicked');
  await assert.rejects(two.rooms.join('r'), (error) => error instanceof errors.KeptOutError && error.until > Date.now());
  service.rooms.end('r');
  await until(() => room.isClosed);
  assert.equal(log.at(-1), 'closed ended');
});

test('with the session its rooms close', async () => {
  const sdk = await enter('anna');
  const [room, watched] = [await sdk.rooms.join('r'), await sdk.rooms.watch('w')];
  const [log, logWatched] = [record(room), record(watched)];
  service.endAll('kicked');
  await until(() => room.isClosed && watched.isClosed);
  await sleep(1);
  assert.deepEqual([log, logWatched], [['closed kicked'], ['closed kicked']]);
  await assert.rejects(sdk.rooms.join('r'), errors.SessionNotOpenError);
  await sdk.session.open();
  const again = await sdk.rooms.join('r');
  await sdk.session.close();
  assert.ok(again.isClosed);
});

test('invitations: accepted, declined, and one that waited for an open', async () => {
  const [one, two] = [await enter('anna'), await enter('ben')];
  const room = await one.rooms.join('r');
  const answers = [];
  one.rooms.on('answered', ({ participantId: id, accepted }) => answers.push([id, accepted]));
  const invited = [];
  two.rooms.on('invited', (invitation) => invited.push(invitation));
  await room.invite(ben, { text: 'Come in' });
  await until(() => invited.length === 1);
  const [{ inviter, inviterName, text }] = invited;
  assert.deepEqual([inviter, inviterName, text], [anna, 'anna', 'Come in']);
  const other = await two.rooms.accept(invited[0]);
  assert.ok(other.isMember);
  await room.invite({ externalIds: ['ben', 'chloe'] });
  await until(() => invited.length === 2);
  assert.equal(two.rooms.invitations.length, 1);
  await two.rooms.decline(invited[1]);
  assert.equal(two.rooms.invitations.length, 0);
  await until(() => answers.length === 2);
  assert.deepEqual(answers, [[ben, true], [ben, false]]);
  // Again the same way changes nothing, and is not told again; the other way is refused.
  assert.equal(await two.rooms.accept(invited[0]), other);
  await two.rooms.decline(invited[1]);
  const answered = (accepted) => (error) => error instanceof errors.InvitationAnsweredError && error.accepted === accepted;
  await assert.rejects(two.rooms.decline(invited[0]), answered(true));
  await other.leave();
  await assert.rejects(two.rooms.accept(invited[1]), answered(false));
  assert.deepEqual(two.rooms.joined, []);
  const unknown = { ...invited[0], id: 'i0' };
  await assert.rejects(two.rooms.decline(unknown), ({ code }) => code === -32067);
  await (await two.rooms.accept(unknown)).leave();
  await assert.rejects(two.rooms.accept(), errors.IllegalArgumentError);
  assert.equal(answers.length, 2);
  const three = await enter('chloe');
  const [waiting] = three.rooms.invitations;
  assert.equal(waiting.room, 'r');
  await three.rooms.accept(waiting);
  await until(() => names(room) === 'anna chloe');
});

test('to some, from a sibling session, and from the backend', async () => {
  const [one, two, tab] = [await enter('anna'), await enter('ben'), await enter('anna')];
  const rooms = [await one.rooms.join('r'), await two.rooms.join('r'), await tab.rooms.join('r')];
  assert.equal(rooms[2].members.get(anna).sessions, 2);
  const logs = rooms.map(() => []);
  rooms.forEach((room, at) => room.on('message', (message, sender) => logs[at].push([message, sender?.id])));
  await rooms[0].send('all');
  await rooms[0].send('to ben', { to: [ben] });
  await rooms[0].send('to nobody', { to: [] });
  service.rooms.say('r', { at: 1 });
  await until(() => logs.every((log) => log.at(-1)?.[0].at === 1));
  const backend = [{ at: 1 }, undefined];
  assert.deepEqual(logs, [[backend], [['all', anna], ['to ben', anna], backend], [['all', anna], backend]]);
});

test('a room is found by its id', async () => {
  const sdk = await enter('anna');
  const id = await sdk.rooms.create('r');
  assert.equal(await sdk.rooms.find(id), 'r');
  await assert.rejects(sdk.rooms.find('r1-none'), { code: -32067 });
});

test('a service that has no rooms says so, and what is misspelt is refused by name', async () => {
  const sdk = await enter('anna');
  const room = await sdk.rooms.join('r');
  const refused = (work, message) => assert.rejects(async () => work(), { name: 'IllegalArgumentError', message });
  await refused(() => sdk.rooms.join(''), /name of a room must be a string that is not empty/);
  await refused(() => sdk.rooms.join(7), /name must be a string/);
  await refused(() => sdk.rooms.create('r', { TTL: 1 }), /Is ttl meant\?/);
  await refused(() => sdk.rooms.on('invite', () => {}), /It has invited, answered/);
  await refused(() => room.on('message_', () => {}), /A room has no event message_/);
  await refused(() => room.send(undefined), /JSON can carry/);
  await refused(() => room.send('x', { to: ['ben'] }), /is not a participant's id/);
  await refused(() => room.kick([anna, ben]), /the id of one participant/);
  await refused(() => room.invite('ben'), /externalIds: \['ben'\]/);
  service.capabilities = [];
  await assert.rejects((await enter('chloe')).rooms.join('r'), /older than this SDK: it has no rooms/);
});
