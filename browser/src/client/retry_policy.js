/** What an SDK does after an error, an end or a close code. The tables are the Python SDK's. */
import { classOf, errors } from '../errors.js';
import { CLOSE_ERRORS, CLOSE_REASONS, CLOSE_ACTIONS, FINAL_REASONS, REASONS, ACTIONS } from '../tables.js';

/** After an error reply to open or resume. */
export const actionOfError = (error) =>
  ACTIONS[error.code] ??
  (error instanceof errors.SessionEndedError ? actionOfEnd(error.endReason) : error.retryable ? 'retry' : 'final');

/** After session.ended without a retry, or a resume that says how the session ended. */
export const actionOfEnd = (reason) => (FINAL_REASONS.includes(reason) ? 'final' : 'reopen');

/** After a close code. */
export const actionOfClose = (code) => CLOSE_ACTIONS[code] ?? (code >= 4500 && code <= 4999 ? 'final' : 'retry');

/** The reason that the app gets. */
export const endReasonOf = (error) => error.endReason || (REASONS[error.code] ?? error.reason);

/** When to come back, where the Close frame says so (S10): {"after": 2, "jitter": 5}. */
export const retryOfClose = (text) => {
  try {
    const { after, jitter } = JSON.parse(text);
    return after >= 0 ? { after, jitter } : undefined;
  } catch {
    return undefined;
  }
};

/** The error of a final close code; text: the reason in the Close frame. */
export const errorOfClose = (close, text) => {
  const code = CLOSE_ERRORS[close];
  const endReason = code ? undefined : (CLOSE_REASONS[close] ?? `close code ${close}`);
  return new (code ? classOf(code) : errors.SessionEndedError)(!text || text[0] === '{' ? undefined : text, { code, endReason });
};

/** The service does not have it, and would ignore what it does not know. */
export const olderServiceError = (capability) =>
  new errors.ProtocolError(`The service is older than this SDK: it has no ${capability}.`, { hint: 'Upgrade the service.' });
