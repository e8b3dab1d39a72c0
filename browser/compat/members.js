/** Objects that people write: a misspelt member is refused, not ignored. */
import { errors } from '@greenroom/client';

/** Members of `GreenroomOptions` and `ParticipantInfo`. */
export const OPTIONS = ['device', 'autoAway', 'webSocket', 'getRandomValues'];
export const INFO = ['name', 'avatarUrl', 'externalId'];

const sorted = (text) => [...text].sort().join('');

/** How many letters must be changed, added or left out; 1 where they only stand in another order. */
const distance = (one, other) => {
  if (one !== other && sorted(one) === sorted(other)) return 1;
  let row = [...Array(other.length + 1).keys()];
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++)
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (one[i - 1] !== other[j - 1])));
    row = next;
  }
  return row.at(-1);
};

const plain = (name) => name.toLowerCase().replace(/[^a-z]/g, '');

/** The known name that was probably meant, or undefined. */
const nearest = (name, known) => {
  const [best] = known
    .map((one) => [distance(plain(name), plain(one)), one])
    .sort(([first], [second]) => first - second);
  return best && best[0] <= Math.max(1, name.length / 3) ? best[1] : undefined;
};

/** Throws IllegalArgumentError unless `object` is undefined, null, or an object that has these members alone. */
export const checkMembers = (what, object, known) => {
  const all = known.join(', ');
  if (object === undefined || object === null) return;
  if (typeof object !== 'object' || Array.isArray(object)) {
    const given = Array.isArray(object) ? 'array' : typeof object;
    throw new errors.IllegalArgumentError(`${what} must be an object, and this is of type ${given}.`, {
      hint: `Its members are ${all}.`,
    });
  }
  for (const name of Object.keys(object))
    if (!known.includes(name)) {
      const meant = nearest(name, known);
      throw new errors.IllegalArgumentError(`${what} has no member ${name}.`, {
        hint: meant ? `Did you mean ${meant}?` : `Its members are ${all}.`,
      });
    }
};
