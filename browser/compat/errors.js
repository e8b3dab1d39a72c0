/** Errors in the platform's form, for what Greenroom does not have. */

/** `code` is a word, as the platform's native modules have it. */
export const platformError = (code, message, cause) => Object.assign(new Error(message, { cause }), { code });

export const notAvailable = (name) =>
  platformError(
    'notAvailable',
    `${name} is not available: Greenroom has sessions and presence, and no conferences or media.`,
  );
