/**
 * This SDK against a service of version 0.1: what that service does not have is said.
 *
 * usage: node newer_browser.mjs '{"url": …, "token": …, "module": …}'
 */
import { strict as assert } from 'node:assert';
import WebSocket from 'ws';

const { url, token, module } = JSON.parse(process.argv[2]);
const { Greenroom, errors } = await import(module);
const warnings = [];
console.warn = (text) => warnings.push(text);
const sdk = new Greenroom(url, globalThis.WebSocket ? {} : { webSocket: WebSocket });
sdk.initializeToken(token);
const me = await sdk.session.open({ name: 'Ada', attributes: { role: 'nurse' } });
assert.deepEqual([me.info.name, me.info.attributes], ['Ada', undefined]);
assert.deepEqual(warnings, [
  'greenroom: the service is older than this SDK: it has no attributes, and ignored those of open().',
]);
const older = (error) => error instanceof errors.ProtocolError && /older than this SDK/.test(error.message);
await assert.rejects(sdk.session.updateParticipantInfo({ attributes: { role: 'nurse' } }), older);
await assert.rejects(sdk.session.setStatus('away'), older);
assert.equal((await sdk.session.updateParticipantInfo('Ada B.')).info.name, 'Ada B.');
await sdk.session.close();
sdk.dispose();
console.log('ok');
