/**
 * Keeps the page up to date: it follows the stream of events, and reads the participant that each event is about. The
 * page opens no session, so an operator who watches is not counted, and is not visible to the application's
 * participants.
 */
const MOST = 1000; // listed at once
const PAGE = 500;
const PAST = 200; // earlier events
const FOUND = 100; // of a search
const WAIT = 20; // seconds of a long poll
const RETRY = 3000;

const pause = (ms, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), done()), { once: true });
  });

export class Live {
  #api;
  #on;
  #due = new Set(); // ids to be looked at
  #looking;
  #next; // cursor of who is not listed yet
  #search = 0; // number of the last one

  /** on: {people(list), past(events), event(event), state(name), knows(id)}. */
  constructor(api, on) {
    this.#api = api;
    this.#on = on;
  }

  async start() {
    // Before the list is read: what happens meanwhile is not missed.
    const { items, cursor } = await this.#api.get('/v1/events', { latest: PAST });
    this.#on.past(items);
    this.#on.state('connected');
    void this.#follow(cursor);
    await this.more(MOST);
  }

  /** Whether everybody who is here is listed. */
  get isComplete() {
    return this.#next === null;
  }

  /** The next of those who are here. */
  async more(most = PAGE) {
    let count = 0;
    while (!this.isComplete && count < most) {
      const page = await this.#here({ limit: PAGE, ...(this.#next && { cursor: this.#next }) });
      this.#on.people(page.items);
      count += page.items.length;
      this.#next = page.cursor;
    }
  }

  /** Looks through all who are here, a page at a time, unless a later search takes over. found(list) gets each page. */
  async search(text, found) {
    const round = ++this.#search;
    let count = 0;
    let cursor;
    while (text && cursor !== null && count < FOUND) {
      const page = await this.#here({ search: text, limit: FOUND, ...(cursor && { cursor }) });
      if (round !== this.#search) return;
      this.#on.people(page.items);
      found(page.items);
      count += page.items.length;
      cursor = page.cursor;
    }
  }

  #here(query) {
    return this.#api.get('/v1/participants', { presence: ['online', 'unreachable'], ...query });
  }

  async #follow(after) {
    const { signal } = this.#api;
    while (!signal.aborted) {
      try {
        const page = await this.#api.get('/v1/events', { after, wait: WAIT, limit: 200 });
        if (signal.aborted) return;
        after = page.cursor;
        this.#on.state('connected');
        page.items.forEach((event) => this.#arrived(event));
      } catch {
        if (signal.aborted) return;
        this.#on.state('reconnecting');
        await pause(RETRY, signal);
      }
    }
  }

  #arrived(event) {
    this.#on.event(event);
    // Where there are more than are listed, who is not among them is not looked at.
    if (!event.participantId || !(this.isComplete || this.#on.knows(event.participantId))) return;
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
      this.#on.people([await this.#api.get(`/v1/participants/${encodeURIComponent(id)}`)]);
    } catch {
      // erased, or anonymous and gone
    }
  }
}
