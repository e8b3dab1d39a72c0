/** The React Native bridge by itself; tests/browser/test_node.py runs the platform's package over it. */
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import './support/resolve.mjs';

const { Bridge, TOKEN_REFRESH } = await import('../react-native-compat/bridge.js');

/** A bridge, and the refresh callback that it gives the SDK. */
const make = async () => {
  let refresh;
  class Sdk {
    session = { isOpen: async () => false };
    rooms = { on() {} };

    initializeToken(_, callback) {
      refresh = callback;
    }
  }
  const bridge = new Bridge(Sdk);
  bridge.configure({ url: 'https://sessions.example.com' });
  await bridge.modules.CommsAPIModule.initializeToken('token');
  let asked = 0;
  new bridge.NativeEventEmitter().addListener(TOKEN_REFRESH, () => (asked += 1));
  return { main: bridge.modules.CommsAPIModule, refresh, asked: () => asked };
};

test('an app that never answers a refresh: the one before is given up as the next is asked', async () => {
  const { main, refresh, asked } = await make();
  const settled = [];
  const all = Array.from({ length: 1000 }, (_, number) =>
    refresh(false).then(
      (token) => settled.push([number, token]),
      (error) => settled.push([number, error.message]),
    ),
  );
  await new Promise(setImmediate);
  assert.equal(asked(), 1000);
  assert.equal(settled.length, 999);
  assert.ok(settled.every(([, said]) => said === 'The app did not answer in time.'));
  await main.onAccessTokenOk('new');
  await Promise.all(all);
  assert.deepEqual(settled.at(-1), [999, 'new']);
});

test('an answer that nobody waits for is taken, and a refusal says why', async () => {
  const { main, refresh } = await make();
  assert.equal(await main.onAccessTokenOk('new'), null);
  assert.equal(await main.onAccessTokenKo('late'), null);
  const asked = refresh(true);
  await main.onAccessTokenKo('offline');
  await assert.rejects(asked, /refreshToken failed with reason := offline/);
});

test('misspelt options and info are refused by name', async () => {
  const bridge = new Bridge();
  assert.throws(() => bridge.configure({ url: 'https://x', getRandomValue: 1 }), /Did you mean getRandomValues\?/);
  assert.throws(() => bridge.configure('https://x'), /configure must be an object/);
  bridge.configure({ url: 'https://x' });
  await bridge.modules.CommsAPIModule.initialize('key', 'secret');
  await assert.rejects(bridge.modules.CommsAPISessionServiceModule.open({ displayName: 'x' }), (error) => {
    assert.equal(error.code, 'error');
    return /info has no member displayName/.test(error.message);
  });
  bridge.sdk.dispose();
});

test('participants have no attributes there, and nobody has a status of their own', async () => {
  const info = { name: 'Anna', avatarUrl: undefined, externalId: 'anna', attributes: { role: 'nurse' } };
  const participant = { id: 'a', info, status: 'CONNECTED', type: 'USER', presence: 'online', availability: 'away' };
  class Sdk {
    session = { participant, open: async () => participant, updateParticipantInfo: async () => participant };
    rooms = { on() {} };
    initializeToken() {}
  }
  const bridge = new Bridge(Sdk);
  bridge.configure({ url: 'https://sessions.example.com' });
  await bridge.modules.CommsAPIModule.initializeToken('token');
  const { open, getParticipant, updateParticipantInfo } = bridge.modules.CommsAPISessionServiceModule;
  const expected = { id: 'a', info: { name: 'Anna', externalId: 'anna' }, status: 'CONNECTED', type: 'USER', streams: [] };
  for (const found of [await open({}), await getParticipant(), await updateParticipantInfo('Anna', null)])
    if (found) assert.deepEqual(found, expected);
  assert.deepEqual(await getParticipant(), expected);
});
