/** Rooms of the fake service: rosters, changes, messages and invitations, without limits and permissions. */

/** One room. A name that is opened again has the versions go on. */
class FakeRoom {
  members = new Map(); // participant: {joinedAt, sessions: Set}
  keptOut = new Set();
  number = 0;

  constructor(name, number, version, detailed) {
    this.name = name;
    this.id = `r1-${`${number}`.padStart(32, '0')}`;
    this.version = version;
    this.detailed = detailed;
  }
}

export class FakeRooms {
  rooms = new Map(); // name: FakeRoom
  pageSize = 1000; // members in one page
  sent = []; // messages to rooms, as they came
  #versions = new Map();
  #invitations = new Map(); // id: {wire, invitee}
  #numbers = 0;
  #service;

  constructor(service) {
    this.#service = service;
  }

  // -- what tests do

  /** As an operator would. */
  end(name) {
    const room = this.rooms.get(name);
    for (const [person, { sessions }] of [...room.members])
      for (const session of [...sessions]) this.#leave(session, name, person, 'ended');
  }

  kick(name, person) {
    const room = this.rooms.get(name);
    room.keptOut.add(person);
    for (const session of [...(room.members.get(person)?.sessions ?? [])]) this.#leave(session, name, person, 'kicked');
  }

  /** The person may not watch the room any more. */
  unwatch(person, name) {
    for (const socket of this.#service.sessions.values())
      if (socket.person === person && socket.watchingRooms.delete(name))
        socket.tell({ method: 'rooms.unwatched', params: { room: name, reason: 'permission_lost' } });
  }

  /** A message of the app's backend. */
  say(name, message) {
    this.#publish(this.rooms.get(name), { message });
  }

  // -- what the service does

  wire(room, person) {
    const { joinedAt, sessions } = room.members.get(person);
    const { id, name, avatarUrl, externalId } = this.#service.record(person);
    return { id, name, avatarUrl, externalId, joinedAt, sessions: sessions.size };
  }

  /** First page, or the one after a cursor. */
  roster(name, cursor) {
    const room = this.rooms.get(name);
    const version = room?.version ?? this.#versions.get(name) ?? 0;
    const all = [...(room?.members.keys() ?? [])].sort();
    const rest = cursor === undefined ? all : all.filter((id) => id > cursor);
    const page = rest.slice(0, this.pageSize);
    const members = page.map((one) => this.wire(room, one));
    const more = rest.length > page.length ? page.at(-1) : undefined;
    return { room: name, id: room?.id, version, count: all.length, members, cursor: more, detailed: room?.detailed ?? true };
  }

  open(name, detailed = true) {
    let room = this.rooms.get(name);
    if (!room) {
      room = new FakeRoom(name, ++this.#numbers, this.#versions.get(name) ?? 0, detailed);
      this.rooms.set(name, room);
    }
    return room;
  }

  roomsOf(session) {
    return [...this.rooms.values()].filter((room) => [...room.members.values()].some((one) => one.sessions.has(session))).map((room) => room.name);
  }

  /** The session is over. */
  sessionEnded(session, person) {
    for (const name of this.roomsOf(session)) this.#leave(session, name, person, 'closed', true);
  }

  /** Someone's record changed. */
  recordChanged(person) {
    for (const room of this.rooms.values())
      if (room.members.has(person)) this.#change(room, { changed: [this.wire(room, person)] });
  }

  invitationsOf(person) {
    return [...this.#invitations.values()].filter((one) => one.invitee === person && one.accepted === undefined).map((one) => one.wire);
  }

  #change(room, change) {
    const since = room.version++;
    this.#versions.set(room.name, room.version);
    const params = { room: room.name, id: room.id, version: room.version, since, count: room.members.size };
    if (room.detailed) Object.assign(params, change);
    for (const socket of this.#service.sessions.values())
      if (socket.watchingRooms.has(room.name)) socket.tell({ method: 'rooms.changed', params });
  }

  #join(socket, name) {
    const room = this.open(name);
    const before = room.members.get(socket.person);
    if (before?.sessions.has(socket.session)) return;
    const member = before ?? { joinedAt: Date.now() + this.#numbers++, sessions: new Set() };
    member.sessions.add(socket.session);
    room.members.set(socket.person, member);
    this.#change(room, { [before ? 'changed' : 'joined']: [this.wire(room, socket.person)] });
  }

  #leave(session, name, person, reason, quietly) {
    const room = this.rooms.get(name);
    const member = room?.members.get(person);
    if (!member?.sessions.delete(session)) return;
    const socket = this.#service.sessions.get(session);
    socket?.watchingRooms.delete(name);
    if (reason !== 'left' && !quietly) socket?.tell({ method: 'rooms.left', params: { room: name, reason } });
    if (member.sessions.size) this.#change(room, { changed: [this.wire(room, person)] });
    else {
      room.members.delete(person);
      this.#change(room, { left: [[person, reason]] });
      if (!room.members.size && !room.keptOut.size) this.rooms.delete(name);
    }
  }

  #publish(room, { from, message, session, to = [] }) {
    const params = { room: room.name, number: ++room.number, from, message };
    for (const [person, { sessions }] of room.members)
      for (const one of sessions)
        if (one !== session && (!to.length || to.includes(person)))
          this.#service.sessions.get(one)?.tell({ method: 'rooms.message', params });
  }

  /** Methods of the wire: (socket, params) -> result, or throws { code }. */
  methods = {
    'rooms.create': (socket, { room, detailed }) => {
      this.open(room, detailed);
      return { roster: this.roster(room), watching: false };
    },
    'rooms.join': (socket, { room }) => {
      if (this.rooms.get(room)?.keptOut.has(socket.person))
        throw { code: -32072, message: 'The participant was kicked out of the room.', data: { reason: 'Kept_out', until: Date.now() + 60_000 } };
      socket.watchingRooms.add(room);
      this.#join(socket, room);
      return { roster: this.roster(room), watching: true };
    },
    'rooms.leave': (socket, { room }) => {
      this.#leave(socket.session, room, socket.person, 'left');
      socket.watchingRooms.delete(room);
      return {};
    },
    'rooms.watch': (socket, { rooms = [], known = [] }) => {
      const names = [...rooms, ...known.map(([name]) => name)];
      for (const name of names) socket.watchingRooms.add(name);
      return { rosters: names.map((name) => this.roster(name)) };
    },
    'rooms.unwatch': (socket, { rooms }) => {
      for (const name of rooms) socket.watchingRooms.delete(name);
      return {};
    },
    'rooms.members': (socket, { room, cursor }) => {
      const { version, count, members, cursor: next } = this.roster(room, cursor);
      return { version, count, members, cursor: next };
    },
    'rooms.find': (socket, { roomId }) => {
      const room = [...this.rooms.values()].find(({ id }) => id === roomId);
      if (!room) throw { code: -32067, message: 'There is no such room.' };
      return { room: room.name };
    },
    'rooms.send': (socket, { room: name, message, to }) => {
      const room = this.rooms.get(name);
      if (!room?.members.get(socket.person)?.sessions.has(socket.session))
        throw { code: -32073, message: 'The session is not in the room.' };
      this.sent.push([name, message]);
      this.#publish(room, { from: socket.person, message, session: socket.session, to });
      return {};
    },
    'rooms.kick': (socket, { room, participantId }) => {
      this.kick(room, participantId);
      return {};
    },
    'rooms.invite': (socket, { room, participantIds = [], externalIds = [], text }) => {
      const { id: inviter, name: inviterName } = this.#service.record(socket.person);
      for (const invitee of [...participantIds, ...externalIds.map((one) => this.#service.person(one).id)]) {
        const id = `i${++this.#numbers}`;
        const createdAt = Date.now();
        const wire = { id, room, inviter, inviterName, text, createdAt, expiresAt: createdAt + 60_000 };
        this.#invitations.set(id, { wire, invitee });
        for (const one of this.#service.sessions.values())
          if (one.person === invitee) one.tell({ method: 'rooms.invited', params: { invitation: wire } });
      }
      return {};
    },
    'rooms.answer': (socket, { invitationId, accept: accepted }) => {
      const found = this.#invitations.get(invitationId);
      if (found?.invitee !== socket.person) throw { code: -32067, message: 'The invitation does not exist.' };
      if (found.accepted !== undefined) {
        if (found.accepted === accepted) return {};
        throw { code: -32075, message: 'It was answered.', data: { reason: 'Invitation_answered', accepted: found.accepted } };
      }
      found.accepted = accepted;
      const { room, inviter } = found.wire;
      const params = { invitationId, room, participantId: socket.person, accepted };
      for (const one of this.#service.sessions.values())
        if (one.person === inviter) one.tell({ method: 'rooms.answered', params });
      return {};
    },
  };
}
