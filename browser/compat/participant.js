/** A participant in the form of the platform's models, which knew no attributes; it is in no conference, and has no media. */
export const toPlatform = ({ id, info: { name, avatarUrl, externalId }, status, type }) => ({
  id,
  info: JSON.parse(JSON.stringify({ name, avatarUrl, externalId })), // only what is set
  status,
  type,
  streams: [],
});
