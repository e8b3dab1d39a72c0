/**
 * What keeps the page true: the stream of events, each of which is followed by a look at whom it is about. The page has
 * no session of its own, so nobody is counted, or seen by the application's own people, because an operator looks.
 */
const MOST = 1000; // listed at once; whoever else does something is added then
const PAGE = 500;
const WAIT = 20; // seconds of a long poll
const RETRY = 3000;

const pause = (ms, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), done()), { once: true });
  });

export class Live {
  #api;
  #tell;
  #due = new Set(); // ids to be looked at
  #looking;

  /** tell: {people(list), event(event), state(name), listed(isComplete)}. */
  constructor(api, tell) {
    this.#api = api;
    this.#tell = tell;
  }

  async start() {
    // Before the list is read: what happens meanwhile is not missed.
    const { cursor } = await this.#api.get('/v1/events', { after: 'now', limit: 1 });
    this.#tell.state('connected');
    void this.#follow(cursor);
    await this.#list();
  }

  /** Everybody who is here. */
  async #list() {
    let count = 0;
    let cursor;
    do {
      const query = { presence: ['online', 'unreachable'], limit: PAGE, ...(cursor && { cursor }) };
      const page = await this.#api.get('/v1/participants', query);
      this.#tell.people(page.items);
      count += page.items.length;
      cursor = page.cursor;
    } while (cursor && count < MOST);
    this.#tell.listed(!cursor);
  }

  async #follow(after) {
    const { signal } = this.#api;
    while (!signal.aborted) {
      try {
        const page = await this.#api.get('/v1/events', { after, wait: WAIT, limit: 200 });
        if (signal.aborted) return;
        after = page.cursor;
        this.#tell.state('connected');
        page.items.forEach((event) => this.#heard(event));
      } catch {
        if (signal.aborted) return;
        this.#tell.state('reconnecting');
        await pause(RETRY, signal);
      }
    }
  }

  #heard(event) {
    this.#tell.event(event);
    if (!event.participantId) return;
    this.#due.add(event.participantId);
    this.#looking ??= this.#lookAround().finally(() => (this.#looking = undefined));
  }

  /** One after the other, each once however much has happened to it. */
  async #lookAround() {
    for (const id of this.#due) {
      this.#due.delete(id);
      await this.look(id);
    }
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
