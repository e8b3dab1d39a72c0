/** A participant in the form of the platform's models; it is in no conference, and has no media. */
export const toPlatform = ({ id, info, status, type }) => ({
  id,
  info: JSON.parse(JSON.stringify(info)), // only what is set
  status,
  type,
  streams: [],
});
