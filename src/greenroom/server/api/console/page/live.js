/**
 * What keeps the page true: a session of its own that watches those who are here, and the stream of events, which
 * tells of those who come. Where the session cannot be had, events alone: each is followed by a look.
 */
import { Greenroom } from '/sdk/greenroom.js';

const MOST = 990; // an application's sessions may watch 1,000 unless it says otherwise
const PAGE = 500;
const WAIT = 20; // seconds of a long poll
const RETRY = 3000;

const pause = (ms, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), done()), { once: true });
  });

/** A participant of the SDK in the shape of the server API. */
const flat = ({ id, info, presence, sessions, version, revision, lastSeen }) => ({
  id,
  name: info.name ?? null,
  avatarUrl: info.avatarUrl ?? null,
  externalId: info.externalId ?? null,
  presence,
  sessions,
  version,
  revision,
  lastSeen: lastSeen ?? null,
});

export class Live {
  #api;
  #sdk;
  #watch;
  #watched = new Set();
  #wanted = new Set();
  #widening;
  #tell;

  /** tell: {people(list), event(event), state(name)}. */
  constructor(api, tell) {
    this.#api = api;
    this.#tell = tell;
  }

  /** The participant of the console's own session. */
  get ownId() {
    return this.#sdk?.session.participant?.id;
  }

  async start() {
    void this.#follow(); // before the list is read: who comes meanwhile is heard of
    await this.#open();
    await this.#list();
  }

  async stop() {
    const sdk = this.#sdk;
    this.#sdk = undefined;
    await sdk?.session.close();
    sdk?.dispose();
  }

  async #token() {
    const body = { sessionScope: 'notifications:set', expires_in: 3600 };
    return (await this.#api.post('/v2/client-access-token', body)).access_token;
  }

  async #open() {
    const sdk = new Greenroom(location.origin, { device: { name: 'browser' } });
    try {
      sdk.initializeToken(await this.#token(), () => this.#token());
      await sdk.session.open({ name: 'Greenroom console' }, { timeout: 10 });
    } catch (error) {
      console.warn('console: no session, so events alone', error);
      sdk.dispose();
      this.#tell.state('polling');
      return;
    }
    this.#sdk = sdk;
    this.#tell.state('connected');
    sdk.session.onStateChanged((state) => this.#sdk && this.#tell.state(state));
    sdk.session.onParticipantsChanged((changed) => this.#tell.people(changed.map(flat)));
    sdk.session.onEnded(() => {
      this.#sdk = this.#watch = undefined;
      this.#watched.clear();
      this.#tell.state('polling');
    });
    sdk.session.onReopened(() => {
      this.#watch = undefined;
      this.#watched.clear();
      void this.#list();
    });
  }

  /** Everybody who is here, and from now on each of their changes. */
  async #list() {
    const ids = [];
    let cursor;
    do {
      const query = { presence: ['online', 'unreachable'], limit: PAGE, ...(cursor && { cursor }) };
      const page = await this.#api.get('/v1/participants', query);
      this.#tell.people(page.items);
      ids.push(...page.items.map((one) => one.id));
      cursor = page.cursor;
    } while (cursor && ids.length < MOST);
    this.#tell.listed(!cursor);
    this.watch(ids);
  }

  /** Watch these too. */
  watch(ids) {
    for (const id of ids) if (this.#watched.size + this.#wanted.size < MOST && !this.#watched.has(id)) this.#wanted.add(id);
    this.#widening ??= this.#widen().finally(() => (this.#widening = undefined));
  }

  async #widen() {
    while (this.#sdk && this.#wanted.size) {
      const fresh = [...this.#wanted];
      this.#wanted.clear();
      try {
        const watch = await this.#sdk.participants.watch(fresh);
        fresh.forEach((id) => this.#watched.add(id));
        this.#tell.people(watch.participants.map(flat));
      } catch (error) {
        console.warn('console: watching failed', error);
        return;
      }
    }
  }

  async #follow() {
    const { signal } = this.#api;
    let after = 'now';
    while (!signal.aborted) {
      try {
        const page = await this.#api.get('/v1/events', { after, wait: after === 'now' ? 0 : WAIT, limit: 200 });
        after = page.cursor;
        page.items.forEach((event) => this.#heard(event));
      } catch {
        if (!signal.aborted) await pause(RETRY, signal);
      }
    }
  }

  #heard(event) {
    this.#tell.event(event);
    const id = event.participantId;
    if (!id || (this.#watched.has(id) && this.#sdk)) return;
    void this.look(id);
    if (event.type === 'session.opened') this.watch([id]);
  }

  /** Read one participant. */
  async look(id) {
    try {
      this.#tell.people([await this.#api.get(`/v1/participants/${encodeURIComponent(id)}`)]);
    } catch {
      // erased, or anonymous and gone
    }
  }
}
