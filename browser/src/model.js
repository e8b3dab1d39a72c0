/** A participant as an app sees one, from the wire. Throws where it is none. */
import { STATUS } from './tables.js';

/** "" and absent are both undefined. */
const info = (wire) => ({
  name: wire.name || undefined,
  avatarUrl: wire.avatarUrl || undefined,
  externalId: wire.externalId || undefined,
});

export const toParticipant = (wire) => {
  if (typeof wire.id !== 'string' || typeof wire.version !== 'number' || !STATUS[wire.presence]) throw new TypeError();
  return Object.freeze({
    id: wire.id,
    info: Object.freeze(info(wire)),
    status: STATUS[wire.presence],
    type: 'USER',
    presence: wire.presence,
    sessions: wire.sessions,
    revision: wire.revision,
    version: wire.version,
    lastSeen: wire.lastSeen ?? undefined,
  });
};

/** Whether two are the same in all that an app sees. Both were made by `toParticipant`. */
export const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** How many bytes of UTF-8. (React Native has no TextEncoder everywhere.) */
export const utf8Length = (text) => unescape(encodeURIComponent(text)).length;
