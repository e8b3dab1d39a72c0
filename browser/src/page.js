/**
 * A page's life: reload, sleep, the back-forward cache, the network. In a browser a device is a tab (S20): its id and
 * the session's secret wait in sessionStorage while one page goes and the next comes, and are removed as they are read,
 * so that a duplicated tab has neither.
 */
const used = new Map();

/** Of the nth Greenroom with this address in this page. */
const keyOf = (base) => {
  const number = used.get(base) ?? 0;
  used.set(base, number + 1);
  return `greenroom:${base}` + (number ? `#${number}` : '');
};

const storage = () => {
  try {
    return globalThis.sessionStorage; // throws where cookies are blocked
  } catch {
    return undefined;
  }
};

const take = (key) => {
  try {
    const text = storage().getItem(key);
    storage().removeItem(key);
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
};

/** Follow the page. The device of the tab, or undefined outside of browsers; and what stops following. */
export const followPage = (base, runner) => {
  const { _machine: machine } = runner;
  const target = globalThis.document && globalThis.addEventListener ? globalThis : undefined;
  if (!target) return {};
  const key = keyOf(base);
  const { device = runner._randomHex(16), session } = take(key);
  if (session) machine.restore(session);
  const wake = () => runner._input((now) => machine.wake(now));
  const events = {
    online: () => runner._input((now) => machine.online(now)),
    offline: () => runner._input((now) => machine.offline(now)),
    pagehide: () => {
      try {
        storage().setItem(key, JSON.stringify({ device, session: machine.snapshot() }));
      } catch {
        // no room, or none allowed: the next page opens anew
      }
    },
    pageshow: ({ persisted }) => {
      if (!persisted) return;
      take(key); // the copy in memory counts
      wake();
    },
  };
  const visible = () => {
    if (document.visibilityState === 'visible') wake();
  };
  for (const name in events) target.addEventListener(name, events[name]);
  document.addEventListener('visibilitychange', visible);
  document.addEventListener('resume', wake);
  const stop = () => {
    for (const name in events) target.removeEventListener(name, events[name]);
    document.removeEventListener('visibilitychange', visible);
    document.removeEventListener('resume', wake);
  };
  return { device: { id: device }, stop };
};
