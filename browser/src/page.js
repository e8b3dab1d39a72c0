/**
 * A page's life: reload, sleep, the back-forward cache, the network. In a browser a device is a tab (S20): its id and
 * the session's secret wait in sessionStorage while one page goes and the next comes, and are removed as they are read,
 * so that a duplicated tab has neither.
 */
const left = new Map(); // what the page before left for each service, and nobody has taken yet

const storage = () => {
  try {
    return globalThis.sessionStorage; // throws where cookies are blocked
  } catch {
    return undefined;
  }
};

const read = (key) => {
  try {
    return [].concat(JSON.parse(storage().getItem(key)) ?? []);
  } catch {
    return [];
  }
};

const remove = (key) => {
  try {
    storage().removeItem(key);
  } catch {
    // there is none
  }
};

/** Follow the page. The device of the tab, or undefined outside of browsers; and what stops following. */
export const followPage = (base, runner) => {
  const { _machine: machine } = runner;
  if (!globalThis.document || !globalThis.addEventListener) return {};
  const key = `greenroom:${base}`;
  if (!left.has(base)) {
    // A page may make several objects, some of which are signed out: those that had a session come first.
    left.set(base, read(key).sort((one, other) => !!other.session - !!one.session));
    remove(key);
  }
  const { device = runner._randomHex(16), session } = left.get(base).shift() ?? {};
  if (session) machine._restore(session);
  const wake = () => runner._input((now) => machine.wake(now));
  const events = {
    online: () => runner._input((now) => machine.online(now)),
    offline: () => runner._input((now) => machine.offline(now)),
    pagehide: () => {
      try {
        storage().setItem(key, JSON.stringify([...read(key), { device, session: machine._snapshot() }]));
      } catch {
        // no room, or none allowed: the next page opens a new session
      }
    },
    pageshow: ({ persisted }) => {
      if (!persisted) return;
      remove(key); // the copy in memory counts
      wake();
    },
  };
  const controller = new AbortController();
  const on = (target, name, handler) => target.addEventListener(name, handler, { signal: controller.signal });
  for (const name in events) on(globalThis, name, events[name]);
  on(document, 'visibilitychange', () => document.visibilityState === 'visible' && wake());
  return { device: { id: device }, stop: () => controller.abort() };
};
