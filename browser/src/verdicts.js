/** What a refusal or a close code means for a session. The tables are the Python SDK's. */
import { classOf, errors } from './errors.js';
import { CLOSE_ERRORS, CLOSE_REASONS, CLOSE_VERDICTS, FINAL_REASONS, REASONS, VERDICTS } from './tables.js';

/** Of an answer to open or resume. */
export const verdictOfError = (error) =>
  VERDICTS[error.code] ??
  (error instanceof errors.SessionEndedError ? verdictOfEnd(error.endReason) : error.retryable ? 'retry' : 'final');

/** Of `session.ended` without a retry, or of a resume that names the end. */
export const verdictOfEnd = (reason) => (FINAL_REASONS.includes(reason) ? 'final' : 'renew');

/** Of a close code. */
export const verdictOfClose = (code) => CLOSE_VERDICTS[code] ?? (code >= 4500 && code <= 4999 ? 'final' : 'retry');

/** The word that the app hears. */
export const endReasonOf = (error) => error.endReason || (REASONS[error.code] ?? error.reason);

/** When to come back, where the service wrote it into the Close frame (S10): {"after": 2, "jitter": 5}. */
export const retryOfClose = (text) => {
  try {
    const { after, jitter } = JSON.parse(text);
    return after >= 0 ? { after, jitter } : undefined;
  } catch {
    return undefined;
  }
};

/** The error of a final close code; text: what the service wrote into the Close frame. */
export const errorOfClose = (close, text) => {
  const code = CLOSE_ERRORS[close];
  const endReason = code ? undefined : (CLOSE_REASONS[close] ?? `close code ${close}`);
  return new (code ? classOf(code) : errors.SessionEndedError)(!text || text[0] === '{' ? undefined : text, { code, endReason });
};
