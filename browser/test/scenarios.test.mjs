/** The scenarios that both SDKs run: tests/scenarios. */
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { play, scenarios } from './support/player.mjs';

const all = scenarios();

test('there are scenarios', () => assert.ok(all.length >= 50));

for (const scenario of all) test(scenario.name, () => play(scenario));
