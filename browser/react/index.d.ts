import type {
  Greenroom,
  GreenroomOptions,
  Member,
  OpenOptions,
  Participant,
  ParticipantInfo,
  Presence,
  Refresh,
  Room,
  RoomClosed,
  RoomEvents,
  SessionEnd,
  SessionState,
  SessionStatus,
  Who,
} from '@greenroom/client';
import type { ReactElement, ReactNode } from 'react';

interface CommonProps {
  /** Who opens the session; read as it is opened. Later changes: `updateParticipantInfo`. */
  info?: ParticipantInfo;
  /** Whether a session is opened as the provider is mounted, and closed as it is unmounted; true by default. */
  open?: boolean;
  children?: ReactNode;
}

/** The provider makes the SDK, and disposes of it. Another user is another provider: give it a `key`. */
export interface ProviderWithUrl extends CommonProps {
  /** Of the Greenroom service, e.g. `https://sessions.example.com`. */
  url: string;
  /** Those of `new Greenroom(url, options)`; read as the SDK is made. */
  options?: GreenroomOptions;
  /** A client access token. Left out or null: `refresh` is asked for the first one, too. */
  token?: string | null;
  refresh?: Refresh;
  sdk?: undefined;
}

/** An SDK that the app has made and initialised. */
export interface ProviderWithSdk extends CommonProps {
  sdk: Greenroom;
  url?: undefined;
  options?: undefined;
  token?: undefined;
  refresh?: undefined;
}

export type GreenroomProviderProps = ProviderWithUrl | ProviderWithSdk;

export declare function GreenroomProvider(props: GreenroomProviderProps): ReactElement;

export interface SessionHandle {
  readonly state: SessionState;
  /** True in `connected` and `reconnecting`. */
  readonly isOpen: boolean;
  /** As last known; undefined without an open session. */
  readonly participant: Participant | undefined;
  /** How the last session ended, if it ended for good and not by `close`; undefined from the next open. */
  readonly ended: SessionEnd | undefined;
  /** Why the last open failed, or the session ended; undefined from the next open. */
  readonly error: Error | undefined;
  /** These four are the same functions in every render. */
  readonly open: (info?: ParticipantInfo | null, options?: OpenOptions) => Promise<Participant>;
  readonly close: () => Promise<void>;
  readonly updateParticipantInfo: Greenroom['session']['updateParticipantInfo'];
  readonly setStatus: (status: SessionStatus) => Promise<Participant>;
}

/** On a server, and until the provider is mounted, the state is `disconnected`. */
export declare function useSession(): SessionHandle;

export interface ParticipantsView {
  /** The latest of each, in the order asked for. Empty without an open session. */
  readonly participants: readonly Participant[];
  /** Whether the service has yet to answer for some of them. */
  readonly isLoading: boolean;
  readonly error: Error | undefined;
}

/** Watches these participants while the component is mounted and a session is open. Needs the scope `notifications:set`. */
export declare function useParticipants(who: Who | null | undefined): ParticipantsView;

/** A participant id, or `{ externalId }`. undefined: not known (yet). Needs the scope `notifications:set`. */
export declare function usePresence(
  who: string | { id?: string; externalId?: string } | null | undefined,
): Presence | undefined;

export interface RoomOptions {
  /** True: only looked at, not joined. */
  watch?: boolean;
  /** `(message, sender, number)`; that of the latest render is called. */
  onMessage?: RoomEvents['message'];
}

export interface RoomHandle {
  /** undefined until it is joined. */
  readonly room: Room | undefined;
  /** In the order in which they joined; empty in a counted room. */
  readonly members: readonly Member[];
  readonly count: number;
  readonly isMember: boolean;
  /** Whether the service has yet to answer. */
  readonly isLoading: boolean;
  /** Why the room was closed, if it was, and not by the component. */
  readonly closed: RoomClosed | undefined;
  /** Why it could not be joined, or not again. */
  readonly error: Error | undefined;
  /** These three reject with NotAMemberError until the room is joined. */
  readonly send: Room['send'];
  readonly invite: Room['invite'];
  readonly kick: Room['kick'];
  /** Joins, or watches, once more what was closed. */
  readonly joinAgain: () => void;
}

/**
 * Joins the room while the component is mounted and a session is open; however many components show it, it is joined once,
 * and left when the last one is unmounted. undefined or null: no room.
 */
export declare function useRoom(name: string | null | undefined, options?: RoomOptions): RoomHandle;

/** The SDK, for what has no hook; undefined on a server, and until the provider is mounted. */
export declare function useGreenroom(): Greenroom | undefined;
