/**
 * Rooms of the module that the service serves, against that service, with three clients.
 * usage: node rooms.mjs '{"url": …, "tokens": {"ada": …, "ben": …, "eve": …}, "module": …, "urls": […]}'
 * (run by tests/browser/test_node.py). urls: of the nodes, one for each client; left out: url for all.
 */
import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';

const { url, urls = [url, url, url], tokens, module } = JSON.parse(process.argv[2]);
const { errors, Greenroom } = await import(module);

const sockets = [];
/** Its connections can be cut; `dials`: how many there were. */
const enter = async (name, at) => {
  const own = [];
  const sdk = new Greenroom(urls[at], {
    webSocket: class extends WebSocket {
      constructor(...values) {
        super(...values);
        own.push(this);
        sockets.push(this);
      }
    },
  });
  sdk.initializeToken(tokens[name]);
  await sdk.session.open({ name });
  return { sdk, cut: () => own.at(-1).terminate(), dials: () => own.length };
};
const until = async (is, what = () => is) => {
  for (let waited = 0; !is(); waited += 10) {
    if (waited > 20_000) assert.fail(`did not come true: ${what()}`);
    await sleep(10);
  }
};
const names = (room) => [...room.members.values()].map(({ info }) => info.name).sort().join(' ');
const holds = (room, wanted) => until(() => names(room) === wanted && room.count === room.members.size, () => `${wanted}, it is ${names(room)}`);

const [ada, ben, eve] = [await enter('ada', 0), await enter('ben', 1), await enter('eve', 2)];

// Join, roster, events, messages.
const [one, two] = [await ada.sdk.rooms.join('standup'), await ben.sdk.rooms.join('standup')];
await holds(one, 'ada ben');
await holds(two, 'ada ben');
assert.ok(one.id && one.id === two.id);
const log = [];
one.on('joined', ({ info }) => log.push(`joined ${info.name}`));
one.on('left', ({ member, reason }) => log.push(`left ${member.info.name} ${reason}`));
const numbers = [];
one.on('message', (message, sender, number) => {
  log.push(`${sender.info.name}: ${JSON.stringify(message)}`);
  numbers.push(number);
});
const watched = await eve.sdk.rooms.watch('standup');
assert.equal(names(watched), 'ada ben');
await two.send({ hand: 'up' });
await two.send('to ada', { to: [ada.sdk.session.participant.id] });
await until(() => log.length === 2, () => log.join());
assert.deepEqual(log, ['ben: {"hand":"up"}', 'ben: "to ada"']);
assert.ok(numbers[0] < numbers[1], numbers.join());
await assert.rejects(watched.send('x'), errors.NotAMemberError);
const three = await eve.sdk.rooms.join('standup');
await holds(one, 'ada ben eve');
assert.equal(await eve.sdk.rooms.find(one.id), 'standup');
const all = [];
for await (const { info } of three.allMembers()) all.push(info.name);
assert.deepEqual(all.sort(), ['ada', 'ben', 'eve']);

// Records travel: a new name, within the second that a member may change once.
await ben.sdk.session.updateParticipantInfo('Benjamin');
await holds(one, 'Benjamin ada eve');

// A connection that is lost keeps the membership, and brings what happened meanwhile.
ada.cut();
await three.leave();
await until(() => ada.dials() > 1 && ada.sdk.session.state === 'connected');
await holds(one, 'Benjamin ada');
assert.ok(one.isMember);
await holds(watched, 'Benjamin ada'); // leaving has not ended the app's own watch
const passed = log.length;
await two.send('after');
await until(() => log.length > passed && log.at(-1).startsWith('Benjamin: "after"'), () => log.join());

// Kick: who opened the room may.
await assert.rejects(two.kick(ada.sdk.session.participant.id), errors.RoomPermissionError);
await one.kick(ben.sdk.session.participant.id, { seconds: 30 });
await until(() => two.isClosed);
await assert.rejects(ben.sdk.rooms.join('standup'), (error) => error instanceof errors.KeptOutError && error.until > Date.now());
await holds(one, 'ada');

// Invitations: to someone who is there, and to someone who comes later.
const answers = [];
ada.sdk.rooms.on('answered', ({ accepted }) => answers.push(accepted));
const invited = new Promise((resolve) => eve.sdk.rooms.on('invited', resolve));
await one.invite({ externalIds: ['eve'] }, { text: 'Come in' });
const invitation = await invited;
assert.deepEqual([invitation.room, invitation.text, invitation.inviterName], ['standup', 'Come in', 'ada']);
await eve.sdk.rooms.accept(invitation);
await holds(one, 'ada eve');
await eve.sdk.session.close();
await holds(one, 'ada');
await one.invite({ externalIds: ['eve'] });
await eve.sdk.session.open();
await until(() => eve.sdk.rooms.invitations.length === 1);
await eve.sdk.rooms.decline(eve.sdk.rooms.invitations[0]);
await until(() => answers.length === 2);
assert.deepEqual(answers, [true, false]);

// Two sessions of one participant, and the end.
const sibling = await enter('ada', 1);
await sibling.sdk.rooms.join('standup');
await until(() => one.members.get(ada.sdk.session.participant.id).sessions === 2);
await one.leave();
assert.deepEqual([one.isMember, one.isClosed], [false, true]);
for (const { sdk } of [ada, ben, eve, sibling]) {
  await sdk.session.close();
  sdk.dispose();
}
console.log('ok');
