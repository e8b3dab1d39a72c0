/**
 * The built package in Node, with the WebSocket of `ws` where Node has none, against a running service.
 * usage: node client.mjs '{"url": …, "tokens": {"ada": …, "ben": …}}' (run by tests/browser/test_node.py)
 */
import { strict as assert } from 'node:assert';
import WebSocket from 'ws';

const { url, tokens, module } = JSON.parse(process.argv[2]);
const { Greenroom, errors } = await import(module);
const make = (token) => {
  const sdk = new Greenroom(url, globalThis.WebSocket ? {} : { webSocket: WebSocket });
  if (token) sdk.initializeToken(token);
  return sdk;
};
const fails = (work, name) => assert.rejects(work, (error) => error instanceof errors[name] && error.name === name);

assert.throws(() => new Greenroom('ftp://x'), errors.IllegalArgumentError);
assert.throws(() => new Greenroom(url).initialize('', 'x'), /appKey is empty/);
await fails(make().session.open(), 'NotInitializedError');

const ada = make(tokens.ada);
const ben = make(tokens.ben);
await fails(ada.session.getParticipant(), 'SessionNotOpenError');
await fails(ada.participants.get({ externalIds: ['x'] }), 'SessionNotOpenError');
await fails(ada.session.open({ externalId: 'someone else' }), 'ExternalIdMismatchError');
await fails(ada.session.open({ name: 3 }), 'IllegalArgumentError');
await fails(ada.session.open({ name: '\ud800' }), 'IllegalArgumentError');

// Two callers at once share one open; open again is a success; other info is not.
const [one, other] = await Promise.all([ada.session.open({ name: 'Ada' }), ada.session.open({ name: 'Ada' })]);
assert.equal(one, other);
assert.equal((await ada.session.open()).id, one.id);
await fails(ada.session.open({ name: 'Eve' }), 'SessionAlreadyOpenError');
assert.equal(ada.session.state, 'connected');
assert.equal(await ada.session.isOpen(), true);

// Watching: the iterator, the callback, and the end of both.
await ben.session.open({ name: 'Ben' });
const seen = [];
const watch = await ada.participants.watch({ externalIds: ['ben'] }, (participant) => seen.push(participant.info.name));
assert.equal(watch.participants[0].info.name, 'Ben');
assert.equal(watch.participants[0].presence, 'online');
const updated = await ben.session.updateParticipantInfo('Benjamin');
assert.equal(updated.info.name, 'Benjamin');
assert.equal((await watch.next()).value.info.name, 'Benjamin');
assert.deepEqual(seen, ['Benjamin']);
await fails(ben.session.updateParticipantInfo('x', null, { ifRevision: 0 }), 'RevisionConflictError');
assert.equal((await ada.participants.get({ externalIds: ['ben', 'nobody'] }))[0].info.name, 'Benjamin');
assert.equal((await ben.session.getParticipant()).revision, updated.revision);
// Attributes are merged, null removes one; a status ends with its session. Watchers hear of both.
const marked = await ben.session.updateParticipantInfo({ attributes: { role: 'nurse', team: 'röd' } });
assert.deepEqual([marked.info.name, marked.info.attributes], ['Benjamin', { role: 'nurse', team: 'röd' }]);
assert.deepEqual((await watch.next()).value.info.attributes, { role: 'nurse', team: 'röd' });
assert.deepEqual((await ben.session.updateParticipantInfo({ attributes: { role: null } })).info.attributes, { team: 'röd' });
assert.deepEqual((await watch.next()).value.info.attributes, { team: 'röd' });
assert.equal((await ben.session.setStatus('in surgery')).availability, 'in surgery');
assert.equal((await watch.next()).value.availability, 'in surgery');
await fails(ben.session.updateParticipantInfo({ attributes: { long: 'x'.repeat(1025) } }), 'IllegalArgumentError');
assert.equal((await ben.session.setStatus('available')).availability, 'available');
assert.equal((await watch.next()).value.availability, 'available');
const found = (await ada.participants.get({ externalIds: ['ben'] }))[0];
assert.deepEqual([found.info.attributes, found.availability], [{ team: 'röd' }, 'available']);
// A watch that is closed while another of the same participant is being asked for takes nothing from it.
const closing = await ada.participants.watch({ externalIds: ['ben'] });
const asked = ada.participants.watch({ externalIds: ['ben'] });
watch.close();
closing.close();
const staying = await asked;
await ben.session.updateParticipantInfo('Ben B.');
assert.equal((await staying.next()).value.info.name, 'Ben B.');
const states = [];
const off = ada.session.onStateChanged((state) => states.push(state));
ada.session.onStateChanged(() => {
  off();
  off.remove();
});
await ada.session.close();
assert.deepEqual(await watch.next(), { done: true, value: undefined });
assert.deepEqual(states, ['disconnected']);
await ada.session.close();
await ada.session.open();
assert.equal(ada.session.participant.info.name, 'Ada');

// Nobody there.
const lost = new Greenroom('http://127.0.0.1:9', globalThis.WebSocket ? {} : { webSocket: WebSocket });
lost.initializeToken(tokens.ada);
await fails(lost.session.open({}, { timeout: 0.5 }), 'OpenTimeoutError');
const opening = assert.rejects(lost.session.open({}, { timeout: null }), errors.OpenCancelledError);
await lost.session.close();
await opening;

ada.dispose();
ben.dispose();
console.log('ok');
