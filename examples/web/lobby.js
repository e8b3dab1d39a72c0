/**
 * The lobby: sign in, see who is here, change name and face, pull the plug and watch it come back.
 *
 * The room `lobby` says who is here. The backend has one call: POST token {externalId, name} -> {token, url}, which
 * signs someone in (yours would check a password). `greenroom serve --dev` has it beside this page; examples/fastapi is
 * another backend: put its address into the <meta name="backend"> of index.html.
 */
import { SwitchableSocket } from './plug.js';

const FACES = Array.from({ length: 6 }, (_, number) => new URL(`face-${number + 1}.svg`, location.href).href);
const ROOM = 'lobby';
const GONE_AFTER = 6000; // ms that someone who left is still shown
const ME = 'lobby-me';
const BACKEND = new URL(document.querySelector('meta[name=backend]').content, location.href);

const $ = (id) => document.getElementById(id);
const plug = new SwitchableSocket.Plug();
const people = new Map(); // participant id -> member of the room; who has left is offline
const leaving = new Map(); // participant id -> timer
let sdk;
let me; // { externalId, name, avatarUrl }
let room;
let lostAt;

// -- signing in

const askBackend = async (path, body) => {
  const reply = await fetch(new URL(path, BACKEND), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`The backend answered ${reply.status}.`);
  return reply.json();
};

const signIn = async (who) => {
  const { token, url } = await askBackend('token', { externalId: who.externalId, name: who.name });
  const { Greenroom } = await import(`${url}/sdk/greenroom.js`);
  sdk ??= follow(new Greenroom(url, { webSocket: plug.WebSocket }));
  sdk.initializeToken(token, async () => (await askBackend('token', { externalId: who.externalId })).token);
  await sdk.session.open({ name: who.name, avatarUrl: who.avatarUrl }, { timeout: 15 });
  me = who;
  sessionStorage.setItem(ME, JSON.stringify(who)); // so that a reload signs in again
  show('lobby');
  say(`You are in as ${sdk.session.participant.info.name}.`);
  await enter();
};

const follow = (greenroom) => {
  const { session } = greenroom;
  session.onStateChanged(showState);
  session.onParticipantUpdated(fillProfile);
  session.onReopened(() => say('The session was lost; a new one has replaced it.'));
  session.onEnded(({ reason, message }) => {
    say(`The session ended: ${reason}.`);
    leaveLobby(message);
  });
  return greenroom;
};

const enter = async () => {
  fillProfile(sdk.session.participant);
  room = await sdk.rooms.join(ROOM);
  people.clear();
  room.members.forEach(put);
  room.on('changed', ({ joined, changed, left }) => {
    [...joined, ...changed].forEach(put);
    for (const { member } of left) if (!room.members.has(member.id)) put({ ...member, presence: 'offline', sessions: 0 });
  });
  room.on('closed', ({ reason }) => sdk.session.state !== 'disconnected' && say(`You are out of the lobby: ${reason}.`));
};

const leaveLobby = (problem) => {
  people.clear();
  room = me = undefined;
  sessionStorage.removeItem(ME);
  $('problem').textContent = problem ?? '';
  $('problem').hidden = !problem;
  show('door');
};

// -- what is shown

const show = (name) => {
  $('door').hidden = name !== 'door';
  $('lobby').hidden = name !== 'lobby';
};

const STATES = {
  disconnected: 'Not signed in',
  connecting: 'Connecting',
  connected: 'Connected',
  reconnecting: 'Reconnecting',
};

const showState = (state) => {
  $('state').dataset.state = state;
  $('lobby').dataset.link = state; // what is shown while reconnecting is the last that was known
  if (sdk.session.participant) draw();
  $('state-text').textContent = STATES[state];
  if (state === 'reconnecting') {
    lostAt = performance.now();
    say('The connection is lost. The session waits.');
  } else if (state === 'connected' && lostAt !== undefined) {
    const seconds = (performance.now() - lostAt) / 1000;
    say(`Back after ${seconds.toFixed(1)} s, in the same session.`);
    lostAt = undefined;
  }
};

const say = (text) => {
  const line = document.createElement('li');
  const time = document.createElement('time');
  time.textContent = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  const words = document.createElement('span');
  words.textContent = text;
  line.append(time, words);
  $('log').prepend(line);
  while ($('log').children.length > 30) $('log').lastChild.remove();
};

const put = (participant) => {
  const before = people.get(participant.id);
  people.set(participant.id, participant);
  const name = nameOf(participant);
  const isMe = participant.id === sdk.session.participant?.id;
  if (before && before.presence !== participant.presence && !isMe)
    say({ online: `${name} is here.`, unreachable: `${name} has lost the connection.`, offline: `${name} left.` }[participant.presence]);
  else if (!before && participant.presence === 'online' && !isMe) say(`${name} is here.`);
  clearTimeout(leaving.get(participant.id));
  if (participant.presence === 'offline' && !isMe)
    leaving.set(
      participant.id,
      setTimeout(() => {
        people.delete(participant.id);
        draw();
      }, before ? GONE_AFTER : 0),
    );
  draw();
};

const nameOf = ({ info }) => info.name ?? 'Someone';

const initials = (name) => {
  const words = name.split(/\s+/).filter(Boolean);
  return [...(words[0] ?? '?')][0].toUpperCase() + (words.length > 1 ? [...words.at(-1)][0].toUpperCase() : '');
};

const hueOf = (id) => [...id].reduce((sum, character) => (sum * 31 + character.codePointAt(0)) % 360, 7);

const portrait = ({ id, info }) => {
  const frame = document.createElement('div');
  frame.className = 'portrait';
  frame.style.setProperty('--hue', hueOf(id));
  const plain = document.createElement('span');
  plain.className = 'face';
  plain.textContent = initials(info.name ?? '?');
  plain.ariaHidden = 'true';
  if (info.avatarUrl) {
    const image = document.createElement('img');
    image.className = 'face';
    image.alt = '';
    image.referrerPolicy = 'no-referrer';
    image.src = info.avatarUrl;
    image.onerror = () => image.replaceWith(plain);
    frame.append(image);
  } else frame.append(plain);
  const dot = document.createElement('span');
  dot.className = 'dot';
  frame.append(dot);
  return frame;
};

const WORDS = { online: 'here', unreachable: 'connection lost', offline: 'left' };

/** Cards are kept and changed in place, so that nothing flickers. */
const draw = () => {
  const own = sdk.session.participant?.id;
  const presenceOf = ({ id, presence }) =>
    id === own && sdk.session.state === 'reconnecting' ? 'unreachable' : presence;
  const order = [...people.values()].sort(
    (one, other) => (other.id === own) - (one.id === own) || nameOf(one).localeCompare(nameOf(other)),
  );
  const cards = new Map([...$('people').children].map((card) => [card.dataset.id, card]));
  const wanted = order.map((participant) => {
    const card = cards.get(participant.id) ?? document.createElement('li');
    const shown = presenceOf(participant);
    const look = JSON.stringify([participant.info, shown, participant.sessions, participant.id === own]);
    if (card.dataset.look === look) return card;
    card.className = 'person';
    Object.assign(card.dataset, { id: participant.id, look, presence: shown, name: nameOf(participant) });
    const name = document.createElement('strong');
    name.textContent = nameOf(participant);
    if (participant.id === own) {
      const tag = document.createElement('span');
      tag.className = 'tag';
      tag.textContent = 'you';
      name.append(tag);
    }
    const presence = document.createElement('small');
    const devices = participant.sessions > 1 ? `, on ${participant.sessions} devices` : '';
    presence.textContent = WORDS[shown] + devices;
    card.replaceChildren(portrait(participant), name, presence);
    return card;
  });
  for (const [id, card] of cards) if (!people.has(id)) card.remove();
  wanted.forEach((card, place) => {
    if ($('people').children[place] !== card) $('people').insertBefore(card, $('people').children[place] ?? null);
  });
  const here = order.filter((one) => one.presence !== 'offline').length;
  $('count').textContent = here === 1 ? 'Only you. Open this page in another tab.' : `${here} people`;
};

// -- forms

const drawFaces = (fieldset, group, chosen) => {
  for (const url of ['', ...FACES]) {
    const label = document.createElement('label');
    const input = document.createElement('input');
    const image = document.createElement('img');
    Object.assign(input, { type: 'radio', name: group, value: url, checked: url === chosen });
    image.src = url || 'face-none.svg';
    image.alt = url ? `Face ${FACES.indexOf(url) + 1}` : 'Initials';
    label.append(input, image);
    fieldset.append(label);
  }
};

const fillProfile = ({ info }) => {
  if (document.activeElement !== $('new-name')) $('new-name').value = info.name ?? '';
  for (const input of $('new-faces').querySelectorAll('input')) input.checked = input.value === (info.avatarUrl ?? '');
};

const problem = (error) => {
  $('problem').textContent = error.message;
  $('problem').hidden = false;
};

const change = async (name, avatarUrl) => {
  try {
    await sdk.session.updateParticipantInfo(name, avatarUrl);
  } catch (error) {
    say(error.message);
  }
};

$('sign-in').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const name = form.get('name').trim();
  if (!name) return;
  const button = event.target.querySelector('button');
  button.disabled = true;
  $('problem').hidden = true;
  try {
    await signIn({ externalId: `lobby:${name.toLowerCase()}`, name, avatarUrl: form.get('face') });
  } catch (error) {
    problem(error);
  }
  button.disabled = false;
});

$('profile').addEventListener('submit', (event) => {
  event.preventDefault();
  $('new-name').blur();
  void change($('new-name').value.trim() || undefined);
});

$('new-faces').addEventListener('change', (event) => void change(undefined, event.target.value));

$('leave').addEventListener('click', async () => {
  leaveLobby();
  await sdk.session.close();
});

$('plug').addEventListener('click', () => {
  plug.isPulled ? plug.putBack() : plug.pull();
  $('plug').ariaPressed = String(plug.isPulled);
  $('plug-text').textContent = plug.isPulled ? 'Plug it in again' : 'Pull the plug';
  say(plug.isPulled ? 'You pulled the plug.' : 'You plugged it in again.');
  if (!plug.isPulled) sdk.wake();
});

drawFaces($('faces'), 'face', FACES[Math.floor(Math.random() * FACES.length)]);
drawFaces($('new-faces'), 'new-face');

const before = JSON.parse(sessionStorage.getItem(ME) ?? 'null');
if (before) signIn(before).catch((error) => leaveLobby(error.message));
