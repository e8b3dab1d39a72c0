/**
 * Short names for private members (those that begin with `_`), so that the module compresses better: members of
 * different classes share names, as no object has both. Which members a class has is read from its source;
 * test/package.test.mjs looks at the objects of a running machine, whether any has two members of one name.
 */
import { readdirSync, readFileSync } from 'node:fs';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** Member -> the groups of members that it meets on one object; and how often each member occurs. */
const read = (folder) => {
  const groups = new Map();
  const counts = new Map();
  const join = (member, group) => groups.set(member, (groups.get(member) ?? new Set()).add(group));
  for (const file of readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.js'))) {
    const written = readFileSync(new URL(file, folder), 'utf8');
    const source = written.replace(/\/\*[^]*?\*\/|\/\/.*/g, '');
    for (const [member] of source.matchAll(/\b_\w+/g)) counts.set(member, (counts.get(member) ?? 0) + 1);
    // A class ends where a line begins with "}". What others give its objects is named in a comment, "Later: …".
    for (const [, group, body] of written.matchAll(/^(?:export )?class (\w+)[^{]*\{\n([^]*?)^\}/gm)) {
      for (const [, member] of body.matchAll(/\bthis\.(_\w+)/g)) join(member, group);
      for (const [later] of body.matchAll(/\/\/ Later:(?:.*\n\s*\/\/)*.*/g))
        for (const [member] of later.matchAll(/\b_\w+/g)) join(member, group);
      for (const [, member] of body.matchAll(/^ {2}(?:async |get )?(_\w+)\(/gm)) join(member, group);
    }
    // Members of objects that are no class's: literals, and what is set from outside.
    for (const [, member] of source.matchAll(/[{,\s](_\w+):/g)) join(member, `literals of ${file}`);
  }
  return { groups, counts };
};

/** `mangleCache` of esbuild: the most frequent members take the shortest names that nobody they meet has. */
export const shortNames = (folder) => {
  const { groups, counts } = read(folder);
  const taken = new Map();
  const names = [...LETTERS, ...[...LETTERS].flatMap((one) => [...LETTERS.slice(26)].map((two) => one + two))];
  const cache = {};
  const everyone = [...new Set([...groups.values()].flatMap((of) => [...of]))];
  for (const [member] of [...counts].sort(([, one], [, other]) => other - one)) {
    // What is seen nowhere as a class's own may be on any object.
    const own = groups.has(member) ? [...groups.get(member)] : everyone;
    const free = names.find((name) => own.every((group) => !taken.get(group)?.has(name)));
    cache[member] = free;
    for (const group of own) taken.set(group, (taken.get(group) ?? new Set()).add(free));
  }
  return cache;
};
