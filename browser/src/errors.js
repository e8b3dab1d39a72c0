/**
 * The one error tree, made from the Python one. Each error has `code`, `reason`, `retryable`, `hint`, and what its
 * class carries: `endReason`, `scope`, `until`, `participant`, `retryAfter`.
 */
import { ERROR_TREE, ERRORS, INTERNAL_ERROR } from './tables.js';

/** Whether an error of this code may go away by itself. Unknown codes are judged by their band. */
export const isRetryableError = (code) => (code <= -32001 && code >= -32049) || code === INTERNAL_ERROR;

/** Root of all errors. `text` says what is wrong, `hint` what to change; `message` has both. */
export class GreenroomError extends Error {
  /**
   * @param {string} [text] what is wrong; left out: the code's own words
   * @param {{hint?: string, code?: number, cause?: unknown, [detail: string]: unknown}} [details]
   */
  constructor(text, { hint, code, reason, cause, ...details } = {}) {
    super();
    Object.assign(this, details);
    this.code = code ?? this._code;
    const [word = 'unknown', meaning = '', whatToDo = ''] = ERRORS[-32000 - this.code] ?? [];
    this.reason = reason ?? word;
    this.retryable = isRetryableError(this.code);
    this.text = text ?? (this.endReason ? `The session has ended: ${this.endReason}.` : meaning);
    this.hint = hint ?? whatToDo;
    this.message = this.hint ? `${this.text} ${this.hint}` : this.text;
    if (cause) this.cause = cause;
  }
}

/** All classes, by name. */
export const errors = {};
const byCode = {};

const add = (one, name, codes) => {
  Object.assign(one.prototype, { name, _code: -32000 - codes[0] });
  errors[name] = one;
  for (const code of codes) byCode[-32000 - code] = one; // a child's before its parent's
};

add(GreenroomError, 'GreenroomError', [-32000 - INTERNAL_ERROR]);
byCode[INTERNAL_ERROR] = undefined; // its band says more
for (const row of ERROR_TREE.split(' ')) {
  const [name, parent, ...codes] = row.split(':');
  add(class extends errors[parent + 'Error'] {}, name + 'Error', codes);
}

/** The class for a code. A code of a newer service is judged by its band, never refused. */
export const classOf = (code) =>
  byCode[code] ?? (isRetryableError(code) ? errors.ServiceUnavailableError : errors.ProtocolError);

/** The error that the service sent. */
export const fromWire = ({ code, message, data }) => {
  const { retryAfter } = data ?? {};
  // A peer may send anything.
  const after = typeof retryAfter === 'number' && retryAfter >= 0 ? Math.min(retryAfter, 1e9) : undefined;
  return new (classOf(code))(String(message), { ...data, code, retryAfter: after });
};
