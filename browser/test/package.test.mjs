/** What is published and served: its size, its types, and that it is what the sources make. */
import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { bundle, PACKAGED } from '../scripts/build.mjs';
import { shortNames } from '../scripts/names.mjs';
import { play, scenarios } from './support/player.mjs';

const root = new URL('..', import.meta.url);
const LIMIT = 20 * 1024; // bytes, minified and compressed

test('the module is at most 20 KiB, minified and compressed', async () => {
  const size = gzipSync(await bundle(), { level: 9 }).length;
  assert.ok(size <= LIMIT, `${size} bytes`);
});

test('what the service serves is what the sources make', async () => {
  assert.equal(await bundle(), readFileSync(new URL(PACKAGED, root), 'utf8'), 'npm run build in browser/');
});

test('the module stands alone', async () => {
  const text = await bundle();
  assert.doesNotMatch(text, /\bimport\s*[({"'*]|\brequire\(|\beval\(|new Function/);
});

test('a sample compiles with tsc --strict', async () => {
  const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root));
  const project = fileURLToPath(new URL('test/types/tsconfig.json', root));
  await promisify(execFile)(process.execPath, [tsc, '--project', project]).catch(({ stdout }) => assert.fail(stdout));
});

test('the types name what the module exports', async () => {
  const types = readFileSync(new URL('src/index.d.ts', root), 'utf8');
  const { errors, ...rest } = await import('../src/index.js');
  assert.deepEqual(Object.keys(rest).sort(), ['Greenroom', 'GreenroomError']);
  const listed = [...types.matchAll(/^ {2}readonly (\w+): ErrorClass;/gm)].map(([, name]) => name);
  assert.deepEqual(listed.sort(), Object.keys(errors).sort());
  const { Greenroom } = rest;
  const sdk = new Greenroom('http://127.0.0.1:9');
  for (const [type, object] of [
    ['Greenroom', sdk],
    ['SessionService', sdk.session],
    ['ParticipantsService', sdk.participants],
    ['RoomsService', sdk.rooms],
  ]) {
    const body = types.slice(types.indexOf(`class ${type} {`)).split('\n}')[0];
    const declared = [...body.matchAll(/^ {2}(?:readonly )?(\w+)[?(:]/gm)].map(([, name]) => name);
    const prototype = Object.getOwnPropertyNames(Object.getPrototypeOf(object));
    const there = [...Object.keys(object), ...prototype].filter((name) => !/^(_|constructor$)/.test(name));
    assert.deepEqual([...new Set(declared)].filter((name) => !/^(private|constructor)$/.test(name)).sort(), there.sort(), type);
  }
  sdk.dispose();
});

/** Calls look(object, its private members) for everything that can be reached from here. */
const walk = (start, look, seen = new Set()) => {
  if (typeof start !== 'object' || start === null || seen.has(start)) return;
  seen.add(start);
  if (start instanceof Map || start instanceof Set || Array.isArray(start))
    for (const one of start.values()) walk(one, look, seen);
  const members = [];
  for (let one = start; one && one !== Object.prototype; one = Object.getPrototypeOf(one))
    members.push(...Object.getOwnPropertyNames(one).filter((name) => name.startsWith('_')));
  look(start, [...new Set(members)]);
  for (const key of Object.keys(start)) walk(start[key], look, seen);
};

test('no object has two private members that the build gives one name', async () => {
  const names = shortNames(new URL('src/', root));
  const clashes = new Set();
  let looked = 0;
  const look = (object, members) => {
    looked += 1;
    for (const one of members)
      for (const other of members)
        if (one < other && names[one] === names[other]) clashes.add(`${object.constructor.name}: ${one}, ${other}`);
  };
  for (const scenario of scenarios()) play(scenario, (machine) => walk(machine, look));
  const { Greenroom } = await import('../src/index.js');
  const sdk = new Greenroom('http://127.0.0.1:9');
  sdk.initialize('key', 'secret');
  walk(sdk, look);
  sdk.dispose();
  assert.ok(looked > 5000, `${looked} objects`);
  assert.deepEqual([...clashes], []);
});
