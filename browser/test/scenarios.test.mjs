/** The scenarios that both SDKs run: tests/scenarios. */
import { strict as assert } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { play } from './support/player.mjs';

const folder = new URL('../../tests/scenarios/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));

test('there are scenarios', () => assert.ok(files.length >= 50));

for (const file of files) test(file, () => play(JSON.parse(readFileSync(new URL(file, folder), 'utf8'))));
