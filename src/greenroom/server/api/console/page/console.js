/**
 * The console: sign in, see who is here and what happens, look closer, kick and block.
 *
 * All that is shown comes from the server API (`api.js`); `live.js` follows the events.
 * Key, secret and token are in no storage, no address and no cookie.
 */
import { Api, LIFE, path } from './api.js';
import { ask } from './ask.js';
import { Chart } from './chart.js';
import { Detail } from './detail.js';
import { $, shown } from './dom.js';
import { Events } from './events.js';
import { Live } from './live.js';
import { People } from './people.js';
import { Rooms } from './rooms.js';
import { drawBlocks, drawBounds, drawFirstSteps, drawIssuers, drawNode } from './side.js';

const STATES = {
  connecting: 'Connecting',
  connected: 'Live',
  reconnecting: 'Reconnecting',
  disconnected: 'Connecting',
};
const LOOK = 5000; // ms from one look at the counts and the node to the next
const HISTORY = 30_000; // ms from one look at the history to the next
let api;
let live;
let timers = [];
let opens = []; // when sessions of the last minute were opened
let blocks = [];
let figuresDue; // a timer

const people = new People({
  choose: (id) => void choose(id),
  more: () => live.more().catch(failed),
  search: (text, found) => live.search(text, found).catch(failed),
});
const detail = new Detail(people, {
  kick: (person) => kick(person),
  block: (person) => block(person),
  end: (session) => end(session),
});
const rooms = new Rooms({
  choose: (id) => void choose(id),
  kick: (room, member) => kickFrom(room, member),
  message: (room) => message(room),
  end: (room) => endRoom(room),
});
const events = new Events((id) => people.get(id), (id) => void choose(id));
const chart = new Chart($('chart'));

// -- in and out

$('sign-in').addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = event.submitter ?? $('sign-in').querySelector('[type=submit]');
  const [key, secret] = [$('key').value.trim(), $('secret').value.trim()];
  $('secret').value = ''; // it is needed no more
  $('sign-in-problem').hidden = true;
  button.disabled = true;
  try {
    api = await Api.signIn(key, secret, $('look-only').checked, () => leave('The token has expired. Please sign in again.'));
    await enter(key);
  } catch (error) {
    leave(error.status === 401 ? 'The app key or the app secret is wrong.' : error.message);
  } finally {
    button.disabled = false;
  }
});

$('sign-out').addEventListener('click', () => leave());

const enter = async (key) => {
  $('app').textContent = key;
  drawFirstSteps(key);
  showState('connecting');
  live = new Live(api, { people: putPeople, past, event: arrived, state: showState, knows: (id) => Boolean(people.get(id)) });
  people.open(live);
  rooms.open(api);
  await Promise.all([look(), readHistory(), readBlocks(), readIssuers().catch(failed), rooms.load().catch(failed)]);
  $('door').hidden = true;
  $('console').hidden = $('who').hidden = false;
  timers = [
    setInterval(() => void look().catch(failed), LOOK),
    setInterval(() => void readHistory().catch(failed), HISTORY),
    setInterval(() => void readBlocks().catch(failed), 30_000),
    setInterval(() => void readIssuers().catch(failed), 30_000),
    setInterval(() => rooms.soon(), 30_000),
    setTimeout(() => leave('The token has expired. Please sign in again.'), (LIFE - 10) * 1000),
  ];
  await live.start();
  people.draw();
  $('people').focus({ preventScroll: true });
};

const leave = (problem) => {
  timers.forEach(clearTimeout); // clears intervals too (HTML, timers)
  timers = [];
  clearTimeout(figuresDue);
  figuresDue = undefined;
  api?.close();
  api = live = undefined;
  if ($('ask').open) $('ask').close();
  [people, detail, rooms, events, chart].forEach((part) => part.clear());
  opens = [];
  $('console').hidden = $('who').hidden = true;
  $('door').hidden = false;
  $('sign-in-problem').textContent = problem ?? '';
  $('sign-in-problem').hidden = !problem;
  $($('key').value ? 'secret' : 'key').focus();
};

// -- what comes in

const putPeople = (list) => {
  people.put(list);
  events.named();
  if (list.some((one) => one.id === detail.id)) detail.draw();
};

const past = (list) => {
  events.past(list);
  for (const event of list) if (event.type === 'session.opened') opens.push(event.at);
};

const arrived = (event) => {
  if (event.type === 'session.opened') opens.push(event.at);
  // The service keeps counts for 2 s.
  figuresDue ??= setTimeout(() => ((figuresDue = undefined), void showFigures().catch(failed)), 2100);
  events.add(event);
  if (event.type.startsWith('room.')) rooms.soon();
  if (event.participantId && event.participantId === detail.id) detail.soon();
};

const showState = (state) => {
  $('state').dataset.state = state;
  $('state-text').textContent = STATES[state];
};

const failed = (error) => console.warn('console: not read', error);

/** The present counts. */
const showFigures = async () => {
  const counts = await api?.get('/v1/counts');
  if (!counts) return;
  opens = opens.filter((at) => at > counts.at - 60_000);
  const figures = { ...counts.participants, sessions: counts.sessions.attached + counts.sessions.detached, opens: opens.length };
  for (const [name, value] of Object.entries(figures)) $(`n-${name}`).textContent = value.toLocaleString();
  chart.now(counts);
};

const readHistory = async () => chart.history(await api.get('/v1/counts/history'));

const look = async () => {
  const [, service] = await Promise.all([showFigures(), api.get('/v1/service')]);
  // How long a session has lasted; but what someone is about to copy stays.
  if (getSelection().isCollapsed) detail.draw();
  drawNode(service);
  drawBounds(service.bounds);
};

const readBlocks = async () => {
  blocks = (await api.get('/v1/blocks', { limit: 100 })).items;
  showBlocks();
};

const readIssuers = async () => drawIssuers((await api.get('/v1/issuers')).items);

const showBlocks = () => {
  const name = (id) => (people.get(id) ? shown(people.get(id)) : id.startsWith('sha256:') ? 'An erased participant' : id);
  drawBlocks(blocks, api.mayChange, lift, name);
};

// -- one participant

const choose = async (id) => {
  people.chosen = id;
  people.draw();
  if (!people.get(id)) await live.look(id);
  if (!people.get(id)) return toast('The participant no longer has a record.');
  await detail.show(api, id);
  if (matchMedia('(max-width: 60rem)').matches) {
    $('detail').scrollIntoView({ block: 'start' });
    $('detail').focus({ preventScroll: true });
  }
};

$('find').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = $('search').value.trim();
  if (!text || people.isSearching) return;
  const first = $('people').querySelector('button');
  if (first) return first.click();
  const { items } = await api.get('/v1/participants', { externalId: text }).catch(() => ({ items: [] }));
  if (items.length) people.put(items);
  await choose(items[0]?.id ?? text);
});

// -- what is done

const done = async (words) => {
  toast(words);
  detail.soon();
  await readBlocks();
};

const kick = (person) =>
  ask(
    {
      title: `Kick ${shown(person)}?`,
      text: 'Ends all their sessions and revokes the tokens issued so far. With a new token they can sign in again.',
      yes: 'Kick',
    },
    async ({ reason }) => {
      const { ended } = await api.post(path('participants', person.id, 'kick'), { reason });
      await done(`${shown(person)} was kicked: ${ended.length === 1 ? 'one session' : `${ended.length} sessions`} ended.`);
    },
  );

const block = (person) =>
  ask(
    {
      title: `Block ${shown(person)}?`,
      text: 'Ends all their sessions. No token lets them in again until the block ends.',
      yes: 'Block',
      withTerm: true,
    },
    async ({ reason, seconds }) => {
      await api.post(path('participants', person.id, 'kick'), { reason, block: seconds === null ? {} : { seconds } });
      await done(`${shown(person)} is blocked.`);
    },
  );

const lift = (one) =>
  ask(
    { title: 'Lift the block?', text: 'With a new token they can sign in again at once.', yes: 'Lift', withReason: false },
    async () => {
      await api.delete(path('blocks', one.participantId));
      await done('The block was lifted.');
    },
  );

const end = (session) =>
  ask(
    {
      title: 'End this session?',
      text: `${session.device.name || 'The device'} is signed out. Its token stays good: to keep someone out, kick or block them.`,
      yes: 'End session',
    },
    async ({ reason }) => {
      const query = new URLSearchParams(reason ? { reason } : {});
      await api.delete(`${path('sessions', session.id)}${reason ? `?${query}` : ''}`);
      await done('The session was ended.');
    },
  );

// -- rooms

const kickFrom = (room, member) =>
  ask(
    {
      title: `Kick ${shown(member)} out of ${room.name}?`,
      text: 'They leave the room and cannot join it again for a minute. Their sessions stay open.',
      yes: 'Kick',
      withReason: false,
    },
    async () => {
      await api.post(path('rooms', room.name, 'kick'), { participantId: member.id });
      toast(`${shown(member)} was kicked out of ${room.name}.`);
      rooms.soon();
    },
  );

const message = (room) =>
  ask(
    { title: `A message to ${room.name}`, text: 'All its members get it, as a JSON string.', yes: 'Send', label: 'Message' },
    async ({ reason }) => {
      await api.post(path('rooms', room.name, 'messages'), { message: reason });
      toast('The message was sent.');
    },
  );

const endRoom = (room) =>
  ask(
    {
      title: `End ${room.name}?`,
      text: 'All its members leave; their sessions stay open. A later join opens the room again.',
      yes: 'End room',
      withReason: false,
    },
    async () => {
      await api.delete(path('rooms', room.name));
      toast(`${room.name} is being ended.`);
      rooms.soon();
    },
  );

let toastTimer;
const toast = (words) => {
  clearTimeout(toastTimer);
  $('toast').textContent = words;
  $('toast').classList.add('shown');
  toastTimer = setTimeout(() => $('toast').classList.remove('shown'), 4000);
};
