/** Errors in the platform's form, for what Greenroom does not have. */

/** `code` is a word, as the platform's native modules have it. */
export const platformError = (code, message, cause) => Object.assign(new Error(message, { cause }), { code });

/** hook: what an app may give to `configure`, so that it is. */
export const notAvailable = (name, hook) => {
  const text = `${name} is not available: Greenroom has sessions, presence and rooms, and no media.`;
  return platformError('notAvailable', hook ? `${text} An app can give it: configure({ media: ${hook} }).` : text);
};

/**
 * A method of the app's media layer, by its path in `media` (`startAudio`, `localAudio.start`); what calls it throws where
 * the app has given none. media(): what the app has given.
 */
export const mediaMethod = (name, path, media) => (...values) => {
  const owners = path.split('.');
  const method = owners.pop();
  const owner = owners.reduce((object, member) => object?.[member], media());
  if (typeof owner?.[method] === 'function') return owner[method](...values);
  throw notAvailable(name, owners.reduceRight((inner, one) => `{ ${one}: ${inner} }`, `{ ${method} }`));
};
