/** @greenroom/react: a Greenroom session in React. Types are in index.d.ts. */
import {
  createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore,
} from 'react';
import { errors } from '@greenroom/client';
import { checkMembers } from '../compat/members.js';
import { SessionStore } from './store.js';

const PROPS = ['sdk', 'url', 'options', 'token', 'refresh', 'info', 'open', 'children'];

const Context = createContext(undefined);

/** Has a session open while it is mounted, for the hooks below it. */
export const GreenroomProvider = (props) => {
  checkMembers('GreenroomProvider', props, PROPS);
  if ((props.sdk === undefined) === (props.url === undefined))
    throw new errors.IllegalArgumentError('GreenroomProvider needs one of url and sdk.', {
      hint: "<GreenroomProvider url='https://sessions.example.com' refresh={fetchToken}>, for example.",
    });
  const [store] = useState(() => new SessionStore());
  // After each render: the store compares, and calls the refresh callback of the latest one.
  useEffect(() => store.start(props));
  useEffect(() => () => store.stop(), [store]);
  return createElement(Context.Provider, { value: store }, props.children);
};

const useStore = (hook) => {
  const store = useContext(Context);
  if (!store)
    throw new errors.IllegalArgumentError(`${hook} has no GreenroomProvider above it.`, {
      hint: 'Put the component into one.',
    });
  return store;
};

const useSnapshot = (store) => useSyncExternalStore(store.subscribe, store.getSnapshot, store.getServerSnapshot);

/** The session: its state, whose it is, how it ended, and what can be done with it. */
export const useSession = () => {
  const store = useStore('useSession');
  const { sdk, ...session } = useSnapshot(store);
  const { open, close, updateParticipantInfo, setStatus } = store;
  return { ...session, open, close, updateParticipantInfo, setStatus };
};

/** The SDK; undefined on a server, and until the provider is mounted. */
export const useGreenroom = () => useSnapshot(useStore('useGreenroom')).sdk;

/** Each once, as [kind, id]: by participant id, or by external id. */
const keysOf = (who) => {
  const { ids = [], externalIds = [] } = typeof who === 'string' || Array.isArray(who) ? { ids: [who].flat() } : (who ?? {});
  const keys = [...ids.map((id) => ['ids', id]), ...externalIds.map((id) => ['externalIds', id])];
  return [...new Set(keys.map((key) => JSON.stringify(key)))];
};

const useWatched = (hook, keys) => {
  const store = useStore(hook);
  const text = keys.join();
  // eslint-disable-next-line react-hooks/exhaustive-deps -- the keys are a new array each time, and the same text
  const view = useMemo(() => store.view(keys), [store, text]);
  return useSyncExternalStore(view.subscribe, view.getSnapshot, view.getServerSnapshot);
};

/** Participants, and how they change. */
export const useParticipants = (who) => {
  if (typeof who !== 'string' && !Array.isArray(who)) checkMembers('who', who, ['ids', 'externalIds']);
  return useWatched('useParticipants', keysOf(who));
};

/** Whether someone is there: a participant id, or { externalId }. undefined: not known (yet), or nobody asked for. */
export const usePresence = (who) => {
  if (typeof who !== 'string') checkMembers('who', who, ['id', 'externalId']);
  const { id, externalId } = typeof who === 'string' ? { id: who } : (who ?? {});
  const asked = { ids: id === undefined ? [] : [id], externalIds: externalId === undefined ? [] : [externalId] };
  return useWatched('usePresence', keysOf(asked)).participants[0]?.presence;
};

const ROOM_OPTIONS = ['watch', 'onMessage'];

/**
 * A room, joined while the component is mounted and a session is open. `watch`: only looked at. `onMessage`: the handler of
 * the latest render. A name that is undefined or null: no room.
 */
export const useRoom = (name, options) => {
  checkMembers('options', options, ROOM_OPTIONS);
  const { watch = false, onMessage } = options ?? {};
  const store = useStore('useRoom');
  const key = name === undefined || name === null ? undefined : JSON.stringify([watch ? 'watch' : 'join', name]);
  const view = useMemo(() => store.roomView(key), [store, key]);
  const shown = useSyncExternalStore(view.subscribe, view.getSnapshot, view.getServerSnapshot);
  const { room } = shown;
  const latest = useRef(onMessage);
  useEffect(() => {
    latest.current = onMessage;
  });
  useEffect(() => room?.on('message', (...values) => latest.current?.(...values)), [room]);
  const call = (method) => async (...values) => {
    if (!room) throw new errors.NotAMemberError();
    return room[method](...values);
  };
  const calls = useMemo(() => ({ send: call('send'), invite: call('invite'), kick: call('kick') }), [room]);
  const joinAgain = useCallback(() => store.again(key), [store, key]);
  return { ...shown, ...calls, joinAgain };
};
