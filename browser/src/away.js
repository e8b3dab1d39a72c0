/**
 * `away` by itself, while the page is hidden or nobody uses it; `available` again when someone does. What the app has set
 * itself stays: only a session that is `available` becomes away, and only one that this made so comes back.
 */
const USE = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart', 'scroll'];
const QUIET_MS = 1000; // moving a pointer is hundreds of events a second

/** given: true, or { hidden, idle } in seconds, null for never. What stops it. */
export const followUse = (session, given) => {
  if (!given || !globalThis.document || !globalThis.addEventListener) return undefined;
  const { hidden = 60, idle = 300 } = given === true ? {} : given;
  let timer;
  let leaving; // settles with whether this made the session away
  let lookedAt = -Infinity;

  const leave = () => {
    if (session.status === 'available')
      leaving = session.setStatus('away').then(
        () => true,
        () => (wait(), false), // no session, or no right to: looked at again later
      );
    else wait();
  };
  const wait = () => {
    clearTimeout(timer);
    const seconds = document.visibilityState === 'hidden' ? hidden : idle;
    if (seconds !== null) timer = setTimeout(leave, seconds * 1000);
  };
  const comeBack = async () => {
    const before = leaving;
    leaving = undefined;
    if ((await before) && session.status === 'away') await session.setStatus('available').catch(() => {});
  };
  const look = () => {
    lookedAt = performance.now();
    if (leaving && document.visibilityState !== 'hidden') void comeBack();
    if (!leaving) wait();
  };
  const controller = new AbortController();
  const { signal } = controller;
  document.addEventListener('visibilitychange', look, { signal });
  for (const name of USE)
    globalThis.addEventListener(name, () => (leaving || performance.now() - lookedAt > QUIET_MS) && look(), { signal, passive: true, capture: true });
  look();
  return () => {
    controller.abort();
    clearTimeout(timer);
  };
};
