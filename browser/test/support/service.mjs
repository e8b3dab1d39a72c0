/** A service in this process: `new Greenroom('http://service', { webSocket: service.WebSocket })`. */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { FakeRooms } from './fake_rooms.mjs';

/** The participant's id of an external id: a UUID, and the same one every time. */
export const participantId = (externalId) =>
  `00000000-0000-4000-8000-${createHash('sha256').update(`${externalId}`).digest('hex').slice(0, 12)}`;

const HOUR = 3600;
const segment = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token for this external id that the service takes. */
export const token = (externalId) => {
  const now = Math.floor(Date.now() / 1000);
  const claims = { app: 'app', sub: externalId, xid: externalId, iat: now, exp: now + HOUR };
  return `${segment({ alg: 'EdDSA' })}.${segment(claims)}.c2ln`;
};

const nobody = (who) => ({ ...who, revision: 0, version: 0, presence: 'offline', sessions: 0, lastSeen: null });

export class FakeService {
  opens = 0;
  sessions = new Map(); // id: the socket it has
  requests = []; // methods, as they came
  rooms = new FakeRooms(this);
  capabilities = ['attributes', 'status', 'rooms'];
  #people = new Map();
  #numbers = 0;

  constructor() {
    const service = this;
    this.WebSocket = class {
      readyState = 0;
      watching = new Set();
      watchingRooms = new Set();

      constructor() {
        queueMicrotask(() => {
          this.readyState = 1;
          this.onopen();
        });
      }

      send(text) {
        queueMicrotask(() => service.#receive(this, JSON.parse(text)));
      }

      close(code) {
        if (code === 1000) service.#end(this);
        this.lose(code);
      }

      /** The connection is gone. */
      lose(code = 1006) {
        if (this.readyState === 3) return;
        this.readyState = 3;
        queueMicrotask(() => this.onclose({ code, reason: '' }));
      }

      tell(message) {
        if (this.readyState === 1) this.onmessage({ data: JSON.stringify({ jsonrpc: '2.0', ...message }) });
      }
    };
  }

  /** Whoever is asked for by an external id exists; `presence` says whether they are there. */
  person(externalId, changes = {}) {
    const id = participantId(externalId);
    const before = this.#people.get(id) ?? nobody({ id, externalId });
    const next = { ...before, ...changes, version: before.version + (Object.keys(changes).length ? 1 : 0) };
    this.#people.set(id, next);
    if (next.version !== before.version)
      for (const socket of this.sessions.values())
        if (socket.watching.has(id)) socket.tell({ method: 'participants.changed', params: { participants: [next] } });
    return next;
  }

  /** A participant's record. */
  record(id) {
    return this.#people.get(id);
  }

  /** Sessions that are lost: the service has forgotten them, and each client opens a new one. */
  forgetAll() {
    for (const socket of [...this.sessions.values()]) {
      this.#end(socket);
      socket.lose();
    }
  }

  /** The end of every session, for good. */
  endAll(reason) {
    for (const socket of [...this.sessions.values()]) {
      socket.tell({ method: 'session.ended', params: { reason, message: 'It is over.' } });
      this.#end(socket);
      socket.lose(4503);
    }
  }

  #end(socket) {
    if (!this.sessions.delete(socket.session)) return;
    this.rooms.sessionEnded(socket.session, socket.person);
    const sessions = [...this.sessions.values()].filter((one) => one.person === socket.person).length;
    this.#change(socket, { presence: sessions ? 'online' : 'offline', sessions });
  }

  /** The participant of this connection. */
  #change(socket, changes = {}) {
    const next = this.person(this.#people.get(socket.person).externalId, changes);
    if ('name' in changes) this.rooms.recordChanged(socket.person);
    return next;
  }

  #receive(socket, { id, method, params = {} }) {
    this.requests.push(method);
    const reply = (result) => socket.tell({ id, result });
    const asked = [
      ...(params.ids ?? []).map((one) => this.#people.get(one) ?? nobody({ id: one })),
      ...(params.externalIds ?? []).map((one) => this.person(one)),
    ];
    const methods = {
      'session.open': () => {
        this.opens += 1;
        const { xid } = JSON.parse(Buffer.from(params.token.split('.')[1], 'base64url'));
        socket.session = `s${++this.#numbers}`;
        socket.person = participantId(xid);
        this.sessions.set(socket.session, socket);
        const { name = this.person(xid).name } = params.participant ?? {};
        const sessions = [...this.sessions.values()].filter((one) => one.person === socket.person).length;
        const participant = this.person(xid, { presence: 'online', sessions, name });
        const session = { id: socket.session, generation: 1, grace: 40, expiresAt: Date.now() + HOUR * 1000 };
        const { capabilities } = this;
        reply({ session, participant, scopes: ['*'], capabilities, invitations: this.rooms.invitationsOf(socket.person) });
      },
      'session.resume': () => {
        socket.session = params.sessionId;
        const before = this.sessions.get(socket.session);
        if (!before) {
          socket.tell({ id, error: { code: -32007, message: 'The session is gone.' } });
          return;
        }
        socket.person = before.person;
        socket.watching = before.watching;
        this.sessions.set(socket.session, socket);
        const session = { id: socket.session, generation: 2, grace: 40, expiresAt: Date.now() + HOUR * 1000 };
        const { capabilities } = this;
        const rooms = this.rooms.roomsOf(socket.session);
        socket.watchingRooms = new Set([...(params.watchingRooms ?? []).map(([name]) => name), ...(params.rosters ? rooms : [])]);
        const rosters = [...socket.watchingRooms].map((name) => this.rooms.roster(name));
        const invitations = this.rooms.invitationsOf(socket.person);
        reply({ session, participant: this.#change(socket), scopes: ['*'], capabilities, rooms, rosters, invitations });
      },
      'session.refreshToken': () => reply({ expiresAt: Date.now() + HOUR * 1000, scopes: ['*'] }),
      'session.close': () => {
        this.#end(socket);
        reply(null);
      },
      'session.updateParticipantInfo': () => reply({ participant: this.#change(socket, { name: params.name }) }),
      'participants.get': () => reply({ participants: asked }),
      'participants.watch': () => {
        for (const one of asked) socket.watching.add(one.id);
        reply({ participants: asked });
      },
      'participants.unwatch': () => {
        for (const one of asked) socket.watching.delete(one.id);
        reply(null);
      },
      ping: () => reply(null),
    };
    const ofRooms = this.rooms.methods[method];
    if (!methods[method] && !ofRooms) throw new Error(`${method} is not in the fake service`);
    if (!ofRooms) {
      methods[method]();
      return;
    }
    let result;
    try {
      result = ofRooms(socket, params);
    } catch (error) {
      if (error instanceof Error) throw error;
      socket.tell({ id, error });
      return;
    }
    reply(result);
  }
}
