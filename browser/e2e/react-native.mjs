/**
 * The unchanged JavaScript layer of @dolbyio/comms-sdk-react-native 3.10.1 against a running service.
 * usage: node --import ./test/support/resolve.mjs react-native.mjs '{"url": …, "token": …, "next": …, "key": …, "secret": …}'
 * (run by tests/browser/test_react_native.py). token lives for a few seconds, next for long.
 */
import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
// First: what is loaded here, the platform's CommonJS finds loaded.
import { bridge, configure } from '../react-native-compat/index.js';
import { appState, loadPlatform } from '../test/support/react-native.mjs';

const { url, token, next, key, secret } = JSON.parse(process.argv[2]);
const { default: CommsAPI, Session, Conference, VideoView } = loadPlatform();
const rejects = (work, code, message) => assert.rejects(work, (error) => {
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
});

// Before anything is initialised. The layer keeps the callback of its first call for good.
let refreshes = 0;
const refresh = async () => {
  refreshes += 1;
  return next;
};
await rejects(CommsAPI.initializeToken(token, refresh), 'error', /configure\(\{ url \}\)/);
configure({ url, webSocket: WebSocket });
assert.equal(await CommsAPI.session.isOpen(), false);
await rejects(CommsAPI.session.getParticipant(), 'noCurrentParticipant', /^No current session user\.$/);
await assert.rejects(CommsAPI.initialize('', ''), /Consumer Key and\/or Consumer Secret are missing/);

// open, isOpen, getParticipant, updateParticipantInfo.
assert.equal(await CommsAPI.initializeToken(token, refresh), null);
assert.equal(await CommsAPI.session.open({ name: 'Ada', avatarUrl: 'https://example.com/ada.png' }), null);
assert.equal(await CommsAPI.session.isOpen(), true);
const me = await CommsAPI.session.getParticipant();
assert.deepEqual(me.info, { name: 'Ada', avatarUrl: 'https://example.com/ada.png', externalId: 'ada' });
assert.equal(me.status, 'CONNECTED');
assert.equal(me.type, 'USER');
assert.deepEqual(me.streams, []);
assert.equal(await CommsAPI.session.updateParticipantInfo('Ada Lovelace', ''), null);
assert.deepEqual((await Session.getParticipant()).info, { name: 'Ada Lovelace', externalId: 'ada' });
await rejects(CommsAPI.session.updateParticipantInfo('x', 'javascript:alert(1)'), 'error', /avatar|URL/i);
await rejects(CommsAPI.session.open({ name: 'Bob' }), 'error', /already/);

// The refresh goes by the event EVENT_SDK_TOKEN_REFRESH and onAccessTokenOk; the connection stays.
const states = [];
bridge.sdk.session.onStateChanged((state) => states.push(state));
await sleep(7000); // the first token's life is over
assert.ok(refreshes >= 1, 'the callback was asked');
assert.equal(await CommsAPI.session.isOpen(), true);
assert.equal(await CommsAPI.session.updateParticipantInfo('Ada Lovelace', ''), null);
assert.deepEqual(states, []);

// What Greenroom does not have says so.
for (const work of [
  () => Conference.startAudio(me),
  () => Conference.isMuted(),
  () => CommsAPI.audio.getLocal().start(),
  () => CommsAPI.video.getLocal().start(),
  () => CommsAPI.recording.start(),
  () => CommsAPI.mediaDevice.switchCamera(),
  () => CommsAPI.filePresentation.stop(),
  () => CommsAPI.videoPresentation.stop(),
])
  await rejects(work(), 'notAvailable', /is not available: Greenroom/);
assert.equal(typeof VideoView, 'function');

// close, and open again with the token that the refresh brought.
appState('background');
appState('active');
assert.equal(await CommsAPI.session.close(), null);
assert.equal(await CommsAPI.session.close(), null);
assert.equal(await CommsAPI.session.isOpen(), false);
await rejects(CommsAPI.session.getParticipant(), 'noCurrentParticipant', /No current session user/);
await rejects(CommsAPI.session.updateParticipantInfo('x', ''), 'error', /No session is open/);
assert.equal(await CommsAPI.session.open(), null);
assert.equal((await CommsAPI.session.getParticipant()).info.name, 'Ada Lovelace');
assert.equal((await CommsAPI.session.getParticipant()).id, me.id);
await CommsAPI.session.close();

// Key and secret, for prototypes; the external id of the legacy flow.
assert.equal(await CommsAPI.initialize(key, secret), null);
await CommsAPI.session.open({ name: 'Grace', externalId: 'grace' });
assert.equal((await CommsAPI.session.getParticipant()).info.externalId, 'grace');
await CommsAPI.session.close();
bridge.sdk.dispose();
console.log('ok');
