/** An app's code against the types, compiled with `tsc --strict`; what must not compile says so. */
import { errors, Greenroom, GreenroomError, type Participant, type Room, type SessionState } from '@greenroom/client';
import { configure, bridge } from '@greenroom/react-native-compat';

const sdk = new Greenroom('https://sessions.example.com', { device: { id: 'phone-1', name: 'My phone' } });
sdk.initializeToken('token', async (isExpired: boolean) => (isExpired ? 'new' : 'newer'));
sdk.initializeToken(null, () => 'token');
sdk.initialize('key', 'secret');
// @ts-expect-error a refresh that forgot its return
sdk.initializeToken('token', async () => {});
// @ts-expect-error no URL
new Greenroom();
// @ts-expect-error made by Greenroom alone
new (sdk.session.constructor as typeof import('@greenroom/client').SessionService)();

export const run = async (): Promise<void> => {
  const me: Participant = await sdk.session.open({ name: 'Anna' }, { timeout: null });
  const state: SessionState = sdk.session.state;
  const name: string | undefined = me.info.name;
  // @ts-expect-error a participant is not changed in place
  me.info.name = 'Ben';
  // @ts-expect-error a promise is always true: await it
  if (sdk.session.isOpen()) console.log(state, name);
  if (await sdk.session.isOpen()) await sdk.session.updateParticipantInfo('Ben', null, { ifRevision: me.revision });
  await sdk.session.updateParticipantInfo({ attributes: { role: 'nurse', team: null } }, { ifRevision: 1 });
  const role: string | null | undefined = me.info.attributes?.role;
  const status: string | undefined = (await sdk.session.setStatus('in surgery')).availability ?? sdk.session.status;
  console.log(role, status);
  // @ts-expect-error an attribute is a text
  await sdk.session.updateParticipantInfo({ attributes: { role: 5 } });
  const off = sdk.session.onStateChanged((next) => console.log(next.toUpperCase()));
  off();
  off.remove();
  sdk.session.onEnded(({ reason, by }) => console.log(reason, by?.name));
  const watch = await sdk.participants.watch({ externalIds: ['ben'] }, (one) => console.log(one.presence));
  for await (const participant of watch) {
    if (participant.presence === 'offline') break;
    // @ts-expect-error there is no such presence
    if (participant.presence === 'away') break;
  }
  await sdk.participants.unwatch(['id']);
  const room: Room = await sdk.rooms.join('standup');
  const names: (string | undefined)[] = [...room.members.values()].map(({ info }) => info.name);
  room.on('message', (message, sender, number) => console.log(message, sender?.info?.name, number + 1));
  room.on('left', ({ member, reason }) => console.log(member.joinedAt, reason?.length));
  // @ts-expect-error there is no such event
  room.on('gone', () => {});
  // @ts-expect-error a roster is not changed by the app
  room.members.clear();
  await room.send({ hand: 'up' }, { to: names.length ? me.id : null });
  sdk.rooms.on('invited', (invitation) => void sdk.rooms.accept(invitation).then((one) => one.leave()));
  for await (const { joined, left, count } of room) if (count > joined.length + left.length) break;
  try {
    await sdk.session.getParticipant();
  } catch (error) {
    if (error instanceof errors.RevisionConflictError) console.log(error.participant?.revision);
    if (error instanceof GreenroomError && error.retryable) console.log(error.code, error.hint);
  }
  await sdk.session.close();
  sdk.dispose();
};

configure({ url: 'https://sessions.example.com' });
bridge.sdk?.session.onReopened(({ previousId }) => console.log(previousId));
