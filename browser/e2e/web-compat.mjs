/**
 * Code as apps of the platform's Web SDK have it, against a running service, with @greenroom/web-compat in its place.
 * usage: node --import ./test/support/resolve.mjs web-compat.mjs '{"url": …, "token": …, "key": …, "secret": …}'
 * (run by tests/browser/test_node.py)
 */
import { strict as assert } from 'node:assert';
import WebSocket from 'ws';
import VoxeetSDK, { conference, configure, initialize, session } from '../web-compat/index.js';

const { url, token, key, secret } = JSON.parse(process.argv[2]);
configure({ url, webSocket: WebSocket });

// A token from the app's backend.
const openSession = async (name) => {
  try {
    await VoxeetSDK.session.open({ name, externalId: 'ada' });
  } catch (error) {
    assert.fail(error);
  }
};
VoxeetSDK.initializeToken(token, () => Promise.resolve(token));
if (!VoxeetSDK.session.isOpen()) await openSession('Ada');
assert.equal(VoxeetSDK.session.isOpen(), true);
assert.deepEqual(VoxeetSDK.session.participant.info, { name: 'Ada', externalId: 'ada' });
await VoxeetSDK.session.updateParticipantInfo({ name: 'Ada L.', avatarUrl: 'https://example.com/a.png' });
assert.equal(VoxeetSDK.session.participant.info.avatarUrl, 'https://example.com/a.png');
await assert.rejects(conference.startAudio({}), { code: 'notAvailable' });
await VoxeetSDK.session.close();
assert.equal(VoxeetSDK.session.participant, null);

// Key and secret, and named imports.
await initialize(key, secret).catch(assert.fail);
await session.open({ name: 'Grace', externalId: 'grace' });
assert.equal(session.participant.info.externalId, 'grace');
assert.equal(session.participant.status, 'Connected');
await session.close();
VoxeetSDK.greenroom.dispose();
console.log('ok');
