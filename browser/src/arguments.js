/** Checks of what an app passes: what nobody would ever read is refused by name. */
import { errors } from './errors.js';

const plain = (name) => name.toLowerCase().replace(/_|s$/g, '');

const refuse = (text, hint = '') => {
  throw new errors.IllegalArgumentError(text, { hint });
};

/** what: the argument's name. example: what could be passed instead. Nothing is an object without members. */
export const checkMembers = (what, given, allowed, example) => {
  if (given == null) return {};
  if (typeof given !== 'object' || Array.isArray(given))
    refuse(`${what} must be an object, not ${Array.isArray(given) ? 'an array' : `a ${typeof given}`}.`, `Pass ${example}.`);
  for (const name of Object.keys(given))
    if (!allowed.includes(name)) {
      const meant = allowed.find((one) => plain(one) === plain(name));
      refuse(`${what} has no member ${name}.`, meant ? `Is ${meant} meant?` : `It has ${allowed.join(', ')}.`);
    }
  return given;
};

/** One of these names. */
export const checkEvent = (what, name, events) => {
  if (!events.includes(name)) refuse(`${what} has no event ${name}.`, `It has ${events.join(', ')}.`);
};

/** Strings without lone surrogates, which no JSON can carry. What else may be wrong the service says. */
export const checkText = (fields) => {
  for (const name in fields) {
    const value = fields[name] ?? '';
    if (typeof value !== 'string') refuse(`${name} must be a string, not a ${typeof value}.`);
    if (/[\uD800-\uDFFF]/u.test(value)) refuse(`${name} has a lone surrogate in it, which is not a character.`);
  }
};

/** Texts by name; null removes one. What else may be wrong the service says. */
export const checkAttributes = (attributes) => {
  if (attributes == null) return;
  if (typeof attributes !== 'object' || Array.isArray(attributes))
    refuse(`attributes must be an object of texts, not ${Array.isArray(attributes) ? 'an array' : `a ${typeof attributes}`}.`, "Pass { role: 'nurse' }.");
  for (const [name, value] of Object.entries(attributes)) {
    checkText({ 'The name of an attribute': name });
    checkText({ [`attributes.${name}`]: value });
  }
};

const list = (field, value) => {
  const all = [...new Set(typeof value === 'string' ? [value] : (value ?? []))];
  if (!all.every((one) => typeof one === 'string' && one)) refuse(`${field} must hold strings that are not empty.`);
  checkText(all.length ? { [field]: all.join('') } : {});
  return all;
};

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Participants: an id, ids, or { ids, externalIds }. Both lists. */
export const splitWho = (who) => {
  const isList = typeof who === 'string' || Array.isArray(who);
  const { ids, externalIds } = isList ? { ids: who } : checkMembers('who', who, ['ids', 'externalIds'], "{ externalIds: ['ada'] }");
  const own = list('ids', ids);
  for (const id of own)
    if (!ID.test(id))
      refuse(
        `'${id}' is not a participant's id, which is a UUID.`,
        `For someone's external id pass { externalIds: ['${id.replace(/^ext:/, '')}'] }.`,
      );
  return [own.map((id) => id.toLowerCase()), list('externalIds', externalIds)];
};
