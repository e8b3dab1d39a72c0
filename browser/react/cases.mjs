/** What react.test.mjs runs once for each version of React, bundled with it. */
import { strict as assert } from 'node:assert';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Component, createElement as h, StrictMode, useEffect, version } from 'react';
import { flushSync } from 'react-dom';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { errors, Greenroom } from '@greenroom/client';
import { GreenroomProvider, useGreenroom, useParticipants, usePresence, useRoom, useSession } from './index.js';
import { FakeService, participantId, token } from '../test/support/service.mjs';

let service;
let roots;
let others;
let complaints;
const { error: printError } = console;

const place = () => document.body.appendChild(document.createElement('div'));
const render = (element, at = place()) => {
  const root = createRoot(at);
  roots.push(root);
  root.render(element);
  /** With other props; its effects have run when this returns. */
  const again = (next) => flushSync(() => root.render(next));
  return { root, again, text: () => at.textContent };
};
const until = async (is, what = is) => {
  for (let waited = 0; waited < 5000; waited += 5) {
    if (is()) return;
    await sleep(5);
  }
  assert.fail(`did not come true: ${typeof what === 'function' ? what() : what}`);
};
/** What was begun and is done in this turn of the event loop or one of the next is done. */
const settled = async () => {
  for (let turn = 0; turn < 5; turn += 1) await sleep(0);
};
const shows = (page, text) => until(() => page.text() === text, () => `${text}, it is ${page.text()}`);

const Provider = ({ externalId = 'anna', ...props }) =>
  h(GreenroomProvider, {
    url: 'http://service',
    options: { webSocket: service.WebSocket },
    token: token(externalId),
    ...props,
  });

let handle; // what useSession gave in the last render
const Session = () => {
  handle = useSession();
  const { state, participant, ended, error } = handle;
  return [state, participant?.info.name, ended?.reason, error?.name].filter(Boolean).join(' ');
};
const Presence = ({ who }) => `${usePresence(who)}`;
const Names = ({ who, externalIds = ['ben', 'chloe'] }) => {
  const { participants, isLoading } = useParticipants(who ?? { externalIds });
  return isLoading ? 'loading' : participants.map(({ info, presence }) => `${info.name}:${presence}`).join(' ');
};

let entered; // what useRoom gave in the last render
const Room = ({ name = 'standup', ...options }) => {
  entered = useRoom(name, options);
  const { members, isLoading, closed, error } = entered;
  const names = members.map(({ info }) => info.name).join(' ');
  return isLoading ? 'loading' : [`${entered.count}: ${names}`, closed?.reason, error?.name].filter(Boolean).join(' ');
};
/** Someone else in a room. */
const other = async (externalId, name = 'standup') => {
  const sdk = new Greenroom('http://service', { webSocket: service.WebSocket });
  others.push(sdk);
  sdk.initializeToken(token(externalId));
  await sdk.session.open({ name: externalId });
  return sdk.rooms.join(name);
};

const count = (method) => service.requests.filter((one) => one === method).length;

class Boundary extends Component {
  state = {};

  static getDerivedStateFromError(error) {
    return { error };
  }

  render() {
    return this.state.error ? this.state.error.message : this.props.children;
  }
}

describe(`React ${version}`, () => {
  beforeEach(() => {
    service = new FakeService();
    roots = [];
    others = [];
    complaints = []; // React's warnings, and what a callback of the SDK threw
    console.error = (...parts) => complaints.push(parts.map(String).join(' ').slice(0, 400));
  });
  afterEach(async () => {
    for (const root of roots) root.unmount();
    for (const sdk of others) sdk.dispose();
    await settled();
    console.error = printError;
    assert.deepEqual(complaints, []);
  });

  test('StrictMode opens one session, and its end is that of the provider', async () => {
    const page = render(h(StrictMode, null, h(Provider, { info: { name: 'Anna' } }, h(Session))));
    await shows(page, 'connected Anna');
    await settled();
    assert.equal(service.opens, 1);
    assert.equal(service.sessions.size, 1);
    page.root.unmount();
    await until(() => service.sessions.size === 0, 'the session is closed');
    assert.equal(service.opens, 1);
  });

  test('StrictMode watches each participant once, and hears what changes', async () => {
    service.person('ben', { name: 'Ben' });
    const everybody = [h(Names, { key: 1 }), ' ', h(Presence, { key: 2, who: { externalId: 'ben' } })];
    const page = render(h(StrictMode, null, h(Provider, null, everybody)));
    await shows(page, 'Ben:offline undefined:offline offline');
    service.person('ben', { presence: 'online' });
    await shows(page, 'Ben:online undefined:offline online');
    assert.equal(service.opens, 1);
    assert.equal(count('participants.unwatch'), 0);
  });

  test('who is shown no more is watched no more, and those whom others show still are', async () => {
    const App = ({ names }) => h(Provider, null, h(Presence, { who: { externalId: 'ben' } }), ' ', names && h(Names));
    const page = render(h(App, { names: true }));
    await shows(page, 'offline undefined:offline undefined:offline');
    page.root.render(h(App, { names: false }));
    await until(() => count('participants.unwatch') > 0, 'Chloe is unwatched');
    const [socket] = service.sessions.values();
    assert.deepEqual([...socket.watching], [participantId('ben')]);
    service.person('ben', { presence: 'online' });
    await shows(page, 'online ');
    page.root.render(h(App, { names: true })); // and Chloe again
    await shows(page, 'online undefined:online undefined:offline');
    service.person('chloe', { presence: 'unreachable' });
    await shows(page, 'online undefined:online undefined:unreachable');
  });

  test('a list of 300 names, each with its own dot, asks the service in a few requests', async () => {
    const dots = Array.from({ length: 300 }, (_, key) => h(Presence, { key, who: { externalId: `user-${key}` } }));
    const page = render(h(Provider, null, dots));
    await shows(page, 'offline'.repeat(300));
    assert.ok(count('participants.watch') < 50, `${count('participants.watch')} requests`);
  });

  test('participant ids, one or many, in the order asked for; nobody is nobody', async () => {
    const [ben, chloe] = ['ben', 'chloe'].map(participantId);
    for (const [name, who] of Object.entries({ one: ben, many: [chloe, ben], none: null })) {
      service.person('ben', { name: 'Ben' });
      service.person('chloe', { name: 'Chloe' });
      const shown = [h(Session, { key: 1 }), ': ', h(Names, { key: 2, who: who ?? { ids: [] } })];
      const page = render(h(Provider, null, shown, h(Presence, { who: null })));
      const wanted = { one: 'Ben:offline', many: 'Chloe:offline Ben:offline', none: '' }[name];
      await shows(page, `connected: ${wanted}undefined`);
    }
  });

  test('a page that is rendered on a server opens nothing, and is taken over without a difference', async () => {
    const dot = h(Presence, { who: participantId('ben') });
    const element = h(Provider, { info: { name: 'Anna' } }, h(Session), ' ', h(Names), dot);
    const html = renderToString(element);
    assert.match(html, /disconnected/);
    await settled();
    assert.deepEqual(service.requests, []);
    const at = place();
    at.innerHTML = html;
    roots.push(hydrateRoot(at, element));
    await until(() => at.textContent.startsWith('connected Anna'), 'the session is open');
    assert.equal(service.opens, 1);
  });

  test('a session that ends for good says how, and can be opened again', async () => {
    const page = render(h(Provider, null, h(Session), ' ', h(Names)));
    await shows(page, 'connected undefined:offline undefined:offline');
    service.endAll('kicked');
    await shows(page, 'disconnected kicked SessionEndedError ');
    assert.equal((await handle.open({ name: 'Anna' })).info.name, 'Anna');
    await shows(page, 'connected Anna undefined:offline undefined:offline');
    service.person('ben', { presence: 'online' });
    await shows(page, 'connected Anna undefined:online undefined:offline');
    await handle.close();
    await shows(page, 'disconnected ');
  });

  test('a lost connection keeps the session and what is shown', async () => {
    const page = render(h(Provider, null, h(Session), ' ', h(Names)));
    await shows(page, 'connected undefined:offline undefined:offline');
    const seen = new Set();
    const observer = new MutationObserver(() => seen.add(page.text()));
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
    [...service.sessions.values()][0].lose();
    await until(() => seen.has('reconnecting undefined:offline undefined:offline'), 'reconnecting');
    await shows(page, 'connected undefined:offline undefined:offline');
    observer.disconnect();
    assert.equal(seen.size, 2, [...seen].join(', '));
    assert.equal(service.opens, 1);
    service.person('ben', { presence: 'online' });
    await shows(page, 'connected undefined:online undefined:offline');
  });

  test('a change of the own name is shown', async () => {
    const page = render(h(Provider, { info: { name: 'Anna' } }, h(Session)));
    await shows(page, 'connected Anna');
    await handle.updateParticipantInfo('Anna B.');
    await shows(page, 'connected Anna B.');
  });

  test('an open that fails is an error to show, and no unhandled rejection', async () => {
    const page = render(h(Provider, { token: null }, h(Session)));
    await shows(page, 'disconnected NotInitializedError');
    await assert.rejects(handle.open(), errors.NotInitializedError);
    page.root.render(h(Provider, { token: 'no token' }, h(Session)));
    await shows(page, 'disconnected TokenInvalidError');
    page.again(h(Provider, { token: token('anna') }, h(Session)));
    await handle.open();
    await shows(page, 'connected');
  });

  test('without an SDK no call waits for ever: a URL that is none, a provider that is gone', async () => {
    const page = render(h(Provider, { url: 'ftp://service' }, h(Session)));
    await shows(page, 'disconnected IllegalArgumentError');
    await assert.rejects(handle.open(), errors.IllegalArgumentError);
    page.again(h(Provider, null, h(Session)));
    await shows(page, 'connected');
    const { open } = handle;
    page.root.unmount();
    await until(() => service.sessions.size === 0, 'the session is closed');
    await assert.rejects(open(), /GreenroomProvider is no longer mounted/);
  });

  test('without a token the refresh callback of the latest render gives the first one', async () => {
    const asked = [];
    const answer = (turn) => (isExpired) => asked.push([turn, isExpired]) && token('anna');
    const App = ({ turn }) =>
      h(Provider, { open: false, token: undefined, refresh: answer(turn) }, h(Session));
    const page = render(h(App, { turn: 1 }));
    await shows(page, 'disconnected');
    page.again(h(App, { turn: 2 }));
    await handle.open();
    await shows(page, 'connected');
    assert.deepEqual(asked, [[2, true]]);
  });

  test('another key is another user', async () => {
    const App = ({ user }) => h(Provider, { key: user, externalId: user, info: { name: user } }, h(Session));
    const page = render(h(StrictMode, null, h(App, { user: 'anna' })));
    await shows(page, 'connected anna');
    page.root.render(h(StrictMode, null, h(App, { user: 'ben' })));
    await shows(page, 'connected ben');
    await until(() => service.sessions.size === 1, 'the session of Anna is closed');
    assert.equal(service.person('anna').presence, 'offline');
    assert.equal(service.opens, 2);
  });

  test('another URL is another SDK', async () => {
    let sdk;
    const Sdk = () => ((sdk = useGreenroom()), null);
    const page = render(h(Provider, null, h(Session), h(Sdk)));
    await shows(page, 'connected');
    const first = sdk;
    page.root.render(h(Provider, { url: 'http://elsewhere' }, h(Session), h(Sdk)));
    await until(() => sdk !== first && handle.isOpen, 'the session of the other');
    await until(() => first.session.state === 'disconnected' && service.sessions.size === 1, 'the first one is closed');
  });

  test("the app's own SDK is opened and closed, and otherwise left alone", async () => {
    const sdk = new Greenroom('http://service', { webSocket: service.WebSocket });
    sdk.initializeToken(token('anna'));
    const page = render(h(StrictMode, null, h(GreenroomProvider, { sdk, info: { name: 'Anna' } }, h(Session))));
    await shows(page, 'connected Anna');
    page.root.unmount();
    await until(() => sdk.session.state === 'disconnected', 'closed');
    await sdk.session.open();
    assert.equal(sdk.session.state, 'connected');
    sdk.dispose();
  });

  test('open={false} leaves opening to a component, whose effect comes before that of the provider', async () => {
    const Opener = () => {
      const { open } = useSession();
      useEffect(() => void open({ name: 'Anna' }), [open]);
      return h(Session);
    };
    const page = render(h(StrictMode, null, h(Provider, { open: false }, h(Opener))));
    await shows(page, 'connected Anna');
    assert.equal(service.opens, 1);
  });

  test('renders no more often than something changes', async () => {
    let renders = 0;
    const Counter = () => {
      renders += 1;
      const { participants } = useParticipants({ externalIds: ['ben'] });
      return [h(Session, { key: 1 }), ' ', participants[0]?.presence];
    };
    const page = render(h(Provider, { info: { name: 'Anna' } }, h(Counter)));
    await shows(page, 'connected Anna offline');
    await settled();
    assert.ok(renders < 10, `${renders} renders`);
    const before = renders;
    service.person('ben', { presence: 'online' });
    await shows(page, 'connected Anna online');
    await settled();
    assert.equal(renders, before + 1);
  });

  test('StrictMode joins a room once, shows who is in it, and leaves it as it is unmounted', async () => {
    const App = ({ shown }) => h(StrictMode, null, h(Provider, { info: { name: 'Anna' } }, shown && [h(Room, { key: 1 }), h(Room, { key: 2 })]));
    const page = render(h(App, { shown: true }));
    await shows(page, '1: Anna1: Anna');
    assert.equal(count('rooms.join'), 1);
    const ben = await other('ben');
    await shows(page, '2: Anna ben2: Anna ben');
    await ben.leave();
    await shows(page, '1: Anna1: Anna');
    assert.equal(count('rooms.leave'), 1);
    page.again(h(App, { shown: false }));
    await until(() => !service.rooms.rooms.has('standup'), 'the room has ended');
    assert.equal(count('rooms.leave'), 2);
  });

  test('messages go to the handler of the latest render, and out of the room', async () => {
    const heard = [];
    const App = ({ turn }) => h(Provider, null, h(Room, { onMessage: (message, { info }) => heard.push([turn, message, info.name]) }));
    const page = render(h(App, { turn: 1 }));
    await shows(page, '1: ');
    const ben = await other('ben');
    await until(() => entered.count === 2, 'ben is there');
    page.again(h(App, { turn: 2 }));
    const received = [];
    ben.on('message', (message) => received.push(message));
    await ben.send('hello');
    await entered.send({ hand: 'up' });
    await until(() => heard.length && received.length, 'both messages');
    assert.deepEqual([heard, received], [[[2, 'hello', 'ben']], [{ hand: 'up' }]]);
  });

  test('a room that is closed says why, and can be joined again', async () => {
    const page = render(h(Provider, { info: { name: 'Anna' } }, h(Room)));
    await shows(page, '1: Anna');
    service.rooms.end('standup');
    await until(() => entered.closed, 'it is closed');
    assert.deepEqual([entered.closed.reason, entered.isMember], ['ended', false]);
    entered.joinAgain();
    await shows(page, '1: Anna');
    service.rooms.kick('standup', participantId('anna'));
    await until(() => entered.closed?.reason === 'kicked', 'she is kicked');
    entered.joinAgain();
    await until(() => entered.error?.name === 'KeptOutError', 'she is kept out');
  });

  test('another room, none, and one that is only watched', async () => {
    await other('ben', 'a');
    const App = (options) => h(Provider, { info: { name: 'Anna' } }, h(Room, options));
    const page = render(h(App, { name: 'a' }));
    await shows(page, '2: ben Anna');
    page.again(h(App, { name: 'a', watch: true }));
    await shows(page, '1: ben');
    await assert.rejects(entered.send('x'), errors.NotAMemberError);
    page.again(h(App, { name: null }));
    await shows(page, '0: ');
    await settled();
    assert.ok(![...service.sessions.values()].some(({ watchingRooms, person }) => watchingRooms.size && person === participantId('anna')));
    page.again(h(App, { name: 'b' }));
    await shows(page, '1: Anna');
  });

  test('a session that ends and is opened again joins the room again', async () => {
    const page = render(h(Provider, { info: { name: 'Anna' } }, h(Session), ' ', h(Room)));
    await shows(page, 'connected Anna 1: Anna');
    service.endAll('kicked');
    await shows(page, 'disconnected kicked SessionEndedError 0: ');
    await handle.open({ name: 'Anna' });
    await shows(page, 'connected Anna 1: Anna');
  });

  const inside = (...parts) => h(Provider, null, h(...parts));
  for (const [name, element, message] of [
    ['a prop', () => h(Provider, { tokens: 'x' }), /no member tokens\. Did you mean token\?/],
    ['no url and no sdk', () => h(GreenroomProvider, {}), /needs one of url and sdk/],
    ['who of usePresence', () => inside(Presence, { who: { externalid: 'ben' } }), /Did you mean externalId\?/],
    ['who of useParticipants', () => inside(Names, { who: { externalId: 'ben' } }), /Did you mean externalIds\?/],
    ['options of useRoom', () => inside(Room, { watching: true }), /options has no member watching/],
    ['a hook without a provider', () => h(Session), /useSession has no GreenroomProvider above it/],
  ])
    test(`refused by name: ${name}`, async () => {
      const page = render(h(Boundary, null, element()));
      await until(() => message.test(page.text()), `${message}, it is ${page.text()}`);
      complaints = complaints.filter((one) => !/error occurred in|IllegalArgumentError|Boundary/.test(one));
    });
});
