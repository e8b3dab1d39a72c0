/** Participants. */
import { STATUS } from './tables.js';

/** A participant as an app sees one, from the wire; "" and absent are both undefined. Throws where it is none. */
export const toParticipant = (wire) => {
  if (typeof wire.id !== 'string' || typeof wire.version !== 'number' || !STATUS[wire.presence]) throw new TypeError();
  return {
    id: wire.id,
    info: {
      name: wire.name || undefined,
      avatarUrl: wire.avatarUrl || undefined,
      externalId: wire.externalId || undefined,
      attributes: wire.attributes ?? undefined,
    },
    status: STATUS[wire.presence],
    type: 'USER',
    presence: wire.presence,
    sessions: wire.sessions,
    revision: wire.revision,
    version: wire.version,
    lastSeen: wire.lastSeen ?? undefined,
    availability: wire.presence === 'offline' ? undefined : (wire.status ?? 'available'),
  };
};

/** Whether two are the same in all that an app sees. Both were made by `toParticipant`. */
export const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** How many bytes of UTF-8. (React Native has no TextEncoder everywhere.) */
export const utf8Length = (text) => unescape(encodeURIComponent(text)).length;
