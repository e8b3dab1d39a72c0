/**
 * The platform's conferences, commands and notifications over rooms: a conference is the room of its alias, which has no
 * upper case and no `#`. Statuses and events are the platform's, in the words of its React Native SDK.
 *
 * Of a conference that was joined everybody whom this SDK saw is kept: those who left (LEFT, KICKED), those whom it invited
 * (RESERVED) and who declined (DECLINE).
 */
import { platformError } from './errors.js';
import { toPlatform } from './participant.js';

const LONGEST_TTL = 600; // seconds that a client may ask for
const LEFT_KEPT = 200; // participants who are there no more
const ROOM_ID = /^r\d+-[0-9a-f]{32}$/;
const GONE = ['LEFT', 'KICKED', 'DECLINE'];

/** The room of an alias. */
export const roomOf = (alias) => {
  const name = `${alias ?? ''}`.toLowerCase().replaceAll('#', '');
  if (!name) throw platformError('error', "The conference's alias is empty.");
  return name;
};

const nobody = (id, name) => ({ id, info: name ? { name } : {}, status: 'CONNECTED', type: 'USER', streams: [] });

class Conference {
  id; // the room's own, once it is known
  isNew = false;
  status = 'DEFAULT';
  people = new Map(); // id: participant in the platform's form
  room; // where it is joined

  constructor(name) {
    this.name = name;
  }
}

export class Conferences {
  #sdk;
  #report;
  #media;
  #random;
  #byName = new Map();
  #current;
  #subscriptions = new Map(); // name: {kinds, isLive, room, ready}
  #undelivered = []; // invitations that nobody listened to

  /**
   * report(event, ...values): what happens; whether someone listens. media: what the app gives for media, if anything.
   * getRandomValues: for the names of conferences without an alias.
   */
  constructor(sdk, report, { media, getRandomValues = (bytes) => globalThis.crypto.getRandomValues(bytes) } = {}) {
    this.#sdk = sdk;
    this.#report = report;
    this.#media = media;
    this.#random = getRandomValues;
    sdk.rooms.on('invited', (invitation) => this.#invited(invitation));
    sdk.rooms.on('answered', ({ room, participantId, accepted }) => {
      const conference = this.#byName.get(room);
      const one = conference?.people.get(participantId);
      if (one?.status === 'RESERVED') this.#put(conference, { ...one, status: accepted ? 'CONNECTING' : 'DECLINE' });
    });
  }

  // -- conferences

  /** null where none is joined. */
  get current() {
    return this.#current ? view(this.#current) : null;
  }

  /** What is known of a conference now. */
  statusOf(alias) {
    return this.#get(roomOf(alias)).status;
  }

  peopleOf(alias) {
    return [...this.#get(roomOf(alias)).people.values()];
  }

  async create({ alias, params } = {}) {
    const conference = this.#get(alias === undefined || alias === null ? this.#newName() : roomOf(alias));
    return this.#doing(conference, 'CREATING', async () => {
      conference.isNew = !(await this.#look(conference));
      const ttl = params?.ttl > 0 ? Math.min(params.ttl, LONGEST_TTL) : undefined;
      conference.id = await this.#sdk.rooms.create(conference.name, { ttl });
      if (!conference.room) this.#set(conference, 'CREATED');
      return view(conference);
    });
  }

  /** id: of the conference, or its alias; left out: the current one. */
  async fetch(id) {
    const conference = id === undefined || id === null ? this.#current : await this.#find(id);
    if (!conference) throw platformError('error', "Couldn't get the conference");
    await this.#look(conference);
    return view(conference);
  }

  async join(given, options) {
    const conference = await this.#of(given);
    if (conference.room) return view(conference);
    await this.leave();
    return this.#doing(conference, 'JOINING', async () => {
      const { rooms } = this.#sdk;
      const invitation = rooms.invitations.find(({ room }) => room === conference.name);
      const room = invitation ? await rooms.accept(invitation) : await rooms.join(conference.name);
      this.#follow(conference, room);
      try {
        await this.#media?.join?.(view(conference), options ?? {});
      } catch (error) {
        await this.#left(conference);
        await room.leave();
        throw error;
      }
      if (conference.room !== room) throw platformError('error', 'The conference has ended, or was left meanwhile.');
      this.#set(conference, 'JOINED');
      for (const member of room.members.values()) this.#put(conference, toPlatform(member));
      return view(conference);
    });
  }

  async leave() {
    const conference = this.#current;
    if (!conference) return;
    const { room } = conference;
    this.#set(conference, 'LEAVING');
    await this.#left(conference);
    await room.leave();
    this.#set(conference, 'LEFT');
  }

  async participants(given) {
    const conference = await this.#of(given);
    await this.#look(conference);
    return [...conference.people.values()];
  }

  participant(id) {
    for (const { people } of this.#byName.values()) if (people.has(id)) return people.get(id);
    throw platformError('error', "Couldn't get the participant");
  }

  async status(given) {
    const conference = await this.#of(given);
    if (conference.status === 'DEFAULT' && (await this.#look(conference))) return 'CREATED';
    return conference.status;
  }

  async kick(participant) {
    await this.#joined().kick(participant?.id);
  }

  async send(message) {
    await this.#joined().send(message);
  }

  #joined() {
    if (!this.#current) throw platformError('error', "Couldn't find the conference");
    return this.#current.room;
  }

  /** A status while it is being done, and ERROR where it cannot be. What is joined stays so. */
  async #doing(conference, status, work) {
    if (!conference.room) this.#set(conference, status);
    try {
      return await work();
    } catch (error) {
      if (!conference.room) this.#set(conference, 'ERROR', error);
      throw error;
    }
  }

  #set(conference, status, error) {
    conference.status = status;
    this.#report('status', view(conference), status, error);
  }

  #get(name) {
    if (!this.#byName.has(name)) this.#byName.set(name, new Conference(name));
    return this.#byName.get(name);
  }

  async #of(given) {
    const { id, alias } = given ?? {};
    return alias === undefined || alias === null ? this.#find(id) : this.#get(roomOf(alias));
  }

  async #find(id) {
    for (const conference of this.#byName.values()) if (conference.id === id) return conference;
    return this.#get(ROOM_ID.test(id) ? await this.#sdk.rooms.find(id) : roomOf(id));
  }

  #newName() {
    return [...this.#random(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  /** Whether the room is open; and who is there. undefined: the token does not let it be looked at. */
  async #look(conference) {
    if (conference.room) return true;
    try {
      return await this.#inRoom(conference, ({ id, members, count }) => {
        conference.id = id ?? conference.id;
        const others = [...conference.people].filter(([, { status }]) => status === 'RESERVED' || status === 'DECLINE');
        conference.people = new Map([...others, ...[...members].map(([one, member]) => [one, toPlatform(member)])]);
        return id !== undefined || count > 0; // a room that was watched before it was opened has not said its id
      });
    } catch (error) {
      if (['ScopeMissingError', 'RoomPermissionError'].includes(error.name)) return undefined;
      throw error;
    }
  }

  /** With the Room: the one that is joined or subscribed to, or one that is watched for as long as this takes. */
  async #inRoom({ name, room }, work) {
    const known = room ?? this.#subscriptions.get(name)?.room;
    if (known) return work(known);
    const watched = await this.#sdk.rooms.watch(name);
    try {
      return await work(watched);
    } finally {
      if (this.#subscriptions.get(name)?.room !== watched) await watched.leave();
    }
  }

  // -- who is there

  #follow(conference, room) {
    const { people } = conference;
    for (const [id, { status }] of [...people]) if (status !== 'RESERVED' && status !== 'DECLINE') people.delete(id);
    Object.assign(conference, { room, id: room.id ?? conference.id });
    this.#current = conference;
    const on = (name, handler) => room.on(name, (...values) => conference.room === room && handler(...values));
    on('joined', (member) => this.#put(conference, toPlatform(member)));
    on('left', ({ member, reason }) =>
      this.#put(conference, { ...toPlatform(member), status: reason === 'kicked' ? 'KICKED' : 'LEFT' }),
    );
    on('changed', ({ changed }) => changed.forEach((member) => this.#put(conference, toPlatform(member))));
    on('message', (message, sender) => {
      const from = sender ? (people.get(sender.id) ?? nobody(sender.id)) : nobody('');
      this.#report('message', from, typeof message === 'string' ? message : JSON.stringify(message));
    });
    on('closed', ({ reason, error }) => {
      const own = people.get(this.#sdk.session.participant?.id);
      if (own && reason === 'kicked') this.#put(conference, { ...own, status: 'KICKED' });
      this.#left(conference).then(
        () => this.#set(conference, reason === 'ended' ? 'ENDED' : error ? 'ERROR' : 'LEFT', error),
        (problem) => console.error('greenroom: media.leave', problem),
      );
    });
  }

  /** The conference is over for this SDK. */
  async #left(conference) {
    conference.room = undefined;
    if (this.#current === conference) this.#current = undefined;
    await this.#media?.leave?.();
  }

  /** Adds a participant, or changes one; the own one is never added. */
  #put(conference, participant) {
    const { people } = conference;
    const before = people.get(participant.id);
    if (before && JSON.stringify(before) === JSON.stringify(participant)) return;
    people.delete(participant.id); // the latest stand last
    people.set(participant.id, participant);
    const gone = [...people.values()].filter(({ status }) => GONE.includes(status));
    for (const { id } of gone.slice(0, Math.max(0, gone.length - LEFT_KEPT))) people.delete(id);
    if (before) this.#report('participantUpdated', participant);
    else if (participant.id !== this.#sdk.session.participant?.id) this.#report('participantAdded', participant);
  }

  // -- invitations

  /** invited: `{ info: { externalId } }`, `{ externalId }` or `{ id }`, each. */
  async invite(given, invited) {
    const ids = [];
    const externalIds = [];
    for (const one of invited ?? []) {
      const externalId = one.info?.externalId ?? one.externalId;
      if (externalId) externalIds.push(externalId);
      else if (one.id) ids.push(one.id);
      else throw platformError('error', 'An invited participant needs an externalId.');
    }
    const conference = await this.#of(given);
    const who = { ids, externalIds };
    await this.#inRoom(conference, (room) => room.invite(who));
    const found = await this.#sdk.participants.get(who).catch(() => []); // without the right to look there is no RESERVED
    for (const one of found) {
      const status = conference.people.get(one.id)?.status;
      if (!status || GONE.includes(status)) this.#put(conference, { ...toPlatform(one), status: 'RESERVED' });
    }
  }

  async decline(given) {
    const { name } = await this.#of(given);
    const invitation = this.#sdk.rooms.invitations.find(({ room }) => room === name);
    if (!invitation) throw platformError('error', 'There is no invitation to this conference.');
    await this.#sdk.rooms.decline(invitation);
  }

  async #invited({ room: name, inviter = '', inviterName }) {
    const conference = this.#get(name);
    await this.#look(conference).catch(() => {}); // for its id
    const named = { conferenceAlias: name, conferenceId: conference.id ?? name, conferenceToken: '' };
    this.#undelivered.push({ ...named, participant: nobody(inviter, inviterName) });
    this.deliver();
  }

  /** Someone listens to invitations, or may. */
  deliver() {
    this.#undelivered = this.#undelivered.filter((body) => !this.#report('invitation', body));
  }

  // -- notifications

  /** [kind, alias] each; kinds: invitation, conferenceCreated, conferenceEnded, participantJoined, participantLeft, activeParticipants. */
  async subscribe(subscriptions) {
    for (const [kind, alias] of subscriptions) {
      if (kind === 'invitation') {
        this.deliver();
        continue;
      }
      const name = roomOf(alias);
      let entry = this.#subscriptions.get(name);
      if (!entry) {
        entry = { kinds: new Set(), isLive: false };
        entry.ready = this.#watch(name, entry);
        this.#subscriptions.set(name, entry);
      }
      entry.kinds.add(kind);
      await entry.ready;
    }
  }

  async unsubscribe(subscriptions) {
    for (const [kind, alias] of subscriptions) {
      const name = kind === 'invitation' ? undefined : roomOf(alias);
      const entry = this.#subscriptions.get(name);
      entry?.kinds.delete(kind);
      if (!entry || entry.kinds.size) continue;
      this.#subscriptions.delete(name);
      await entry.ready;
      await entry.room.leave();
    }
  }

  async #watch(name, entry) {
    let room;
    try {
      room = entry.room = await this.#sdk.rooms.watch(name);
    } catch (error) {
      this.#subscriptions.delete(name);
      throw error;
    }
    const named = () => ({ conferenceAlias: name, conferenceId: room.id ?? this.#byName.get(name)?.id ?? name });
    const tell = (kind, more) => entry.kinds.has(kind) && this.#report(kind, { ...named(), ...more });
    const everybody = () => [...room.members.values()].map(toPlatform);
    entry.isLive = room.count > 0;
    room.on('changed', ({ joined, left, count }) => {
      if (!entry.isLive && count > 0) tell('conferenceCreated');
      for (const one of joined) tell('participantJoined', { participant: toPlatform(one) });
      for (const { member } of left) tell('participantLeft', { participant: { ...toPlatform(member), status: 'LEFT' } });
      tell('activeParticipants', { participantCount: count, participants: everybody() });
      if (entry.isLive && count === 0) tell('conferenceEnded');
      entry.isLive = count > 0;
    });
    room.on('closed', () => {
      if (this.#subscriptions.get(name) === entry) this.#subscriptions.delete(name);
    });
    this.#report('conferenceStatus', { ...named(), live: entry.isLive, participants: everybody() });
  }
}

/** As apps see it. */
const view = ({ id, name, isNew, people, status }) => ({
  id: id ?? name,
  alias: name,
  isNew,
  participants: [...people.values()],
  status,
});
