/** Participants, and members of rooms. */
import { STATUS } from './tables.js';

const toInfo = ({ name, avatarUrl, externalId, attributes }) => ({
  name: name || undefined,
  avatarUrl: avatarUrl || undefined,
  externalId: externalId || undefined,
  attributes: attributes ?? undefined,
});

/** A participant as an app sees one, from the wire; "" and absent are both undefined. Throws where it is none. */
export const toParticipant = (wire) => {
  if (typeof wire.id !== 'string' || typeof wire.version !== 'number' || !STATUS[wire.presence]) throw new TypeError();
  return {
    id: wire.id,
    info: toInfo(wire),
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

/** A member of a room, from the wire. Throws where it is none. */
export const toMember = (wire) => {
  const { id, joinedAt, presence = 'online', sessions = 1, status: availability = 'available' } = wire;
  if (typeof id !== 'string' || typeof joinedAt !== 'number' || !STATUS[presence]) throw new TypeError();
  return { id, info: toInfo(wire), status: STATUS[presence], type: 'USER', presence, sessions, availability, joinedAt };
};

/** Whether two are the same in all that an app sees. Both were made by `toParticipant`. */
export const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** How many bytes of UTF-8. (React Native has no TextEncoder everywhere.) */
export const utf8Length = (text) => unescape(encodeURIComponent(text)).length;
