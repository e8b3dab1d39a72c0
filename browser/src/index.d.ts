/** Greenroom's SDK for browsers, React Native, Node, Deno and Bun. Times are seconds unless a name says otherwise. */

/** Where a session is. `isOpen` is true in `connected` and `reconnecting`. */
export type SessionState = 'disconnected' | 'connecting' | 'connected' | 'reconnecting';

/** `online`: a session has a connection. `unreachable`: sessions, none connected. `offline`: no session. */
export type Presence = 'online' | 'unreachable' | 'offline';

/** Who somebody is. For `open`: what is left out stays as it is, "" clears. */
export interface ParticipantInfo {
  /** At most 256 characters. */
  readonly name?: string;
  /** At most 2,048 characters; https, http or relative. */
  readonly avatarUrl?: string;
  /** The app's own id; at most 1,024 bytes of UTF-8. Leave it out where the token has it. */
  readonly externalId?: string;
  /**
   * What else the app says of the participant, by name: up to 32, names of 1 to 64 characters, texts of up to 1,024 bytes,
   * 4 KiB together. Given to `open` they are merged into those that are there, and null removes one. Of a participant:
   * undefined where there are none.
   */
  readonly attributes?: Attributes;
}

/** Texts by name. null is given only, to remove one: a participant has none. */
export type Attributes = { readonly [name: string]: string | null };

/** A session's status: one of these, or a text of the app's own of 1 to 64 characters. */
export type SessionStatus = 'available' | 'away' | 'busy' | (string & {});

export interface Participant {
  readonly id: string;
  readonly info: ParticipantInfo;
  /** The platform's status for the presence. */
  readonly status: 'CONNECTED' | 'CONNECTING' | 'LEFT';
  readonly type: 'USER';
  readonly presence: Presence;
  /** How many sessions. */
  readonly sessions: number;
  /** The status of the most available session: available, a text of the app's own, busy, away. undefined: no session. */
  readonly availability?: SessionStatus;
  /** Counts changes of name, avatar and attributes. */
  readonly revision: number;
  /** Rises at every change; newer is higher. */
  readonly version: number;
  /** Unix milliseconds; undefined where never seen. */
  readonly lastSeen?: number;
}

/** One installation of the app. In a browser each tab is one, and the SDK names it. */
export interface Device {
  readonly id?: string;
  readonly name?: string;
}

/** Why a session ended for good, not by `close`. */
export interface SessionEnd {
  /** `kicked`, `blocked`, `replaced`, `token_expired`, `token_revoked`, `application_disabled`, … */
  readonly reason: string;
  readonly message: string;
  /** The device that took the session's place, where one did. */
  readonly by?: Device;
  readonly error: GreenroomError;
}

/** A new session stands in place of one that the service no longer had. */
export interface SessionReopened {
  readonly participant: Participant;
  /** Why the old one was gone. */
  readonly reason: string;
  /** The participant's id before; another one where the participant is anonymous. */
  readonly previousId: string;
}

export interface TokenRefreshFailure {
  readonly error: GreenroomError;
  /** False: harmless. True: the session cannot continue with this token. */
  readonly isExpired: boolean;
}

/** Stops a handler. `remove` is the same, as the platform's React Native SDK had it. */
export interface Unsubscribe {
  (): void;
  remove(): void;
}

/** Returns a client access token for the same participant. Must answer within 10 seconds. */
export type Refresh = (isExpired: boolean) => string | Promise<string>;

export interface OpenOptions {
  /** This installation of the app; left out: `session.device`. */
  device?: Device;
  /** Seconds; 10 by default, null for no limit. */
  timeout?: number | null;
}

export declare class SessionService {
  readonly state: SessionState;
  /** As last known; undefined without an open session. */
  readonly participant: Participant | undefined;
  /** The session scopes of the token, as the service said. */
  readonly scopes: string[];
  device?: Device;

  private constructor();

  /**
   * Opens a session; with one open (and the same or no info), the present participant. Callers at the same time share
   * one open. What may go away by itself is tried again until the timeout.
   */
  open(info?: ParticipantInfo | null, options?: OpenOptions): Promise<Participant>;
  /** Ends the session. Never rejects. Waits for the service, 2 seconds at most. The token is kept. */
  close(): Promise<void>;
  /** From a successful `open` until `close` or a final end, also while reconnecting. */
  isOpen(): Promise<boolean>;
  /** The session's participant, asked of the service. */
  getParticipant(): Promise<Participant>;
  /** Left out, undefined or null leaves as it is, "" clears. ifRevision: only if that is the present revision. */
  updateParticipantInfo(
    name?: string | null,
    avatarUrl?: string | null,
    options?: { ifRevision?: number },
  ): Promise<Participant>;
  /** The same by name. attributes: merged into those that are there; null removes one. */
  updateParticipantInfo(
    info: { name?: string | null; avatarUrl?: string | null; attributes?: Attributes | null },
    options?: { ifRevision?: number },
  ): Promise<Participant>;
  /** What `setStatus` set last, `available` at first; undefined without a session. */
  readonly status: SessionStatus | undefined;
  /**
   * Says how available this session's user is. It outlives connections, is kept by an automatic reopen, and ends with the
   * session. Needs `session:update`.
   */
  setStatus(status: SessionStatus): Promise<Participant>;

  onStateChanged(handler: (state: SessionState) => void): Unsubscribe;
  onEnded(handler: (end: SessionEnd) => void): Unsubscribe;
  onReopened(handler: (reopened: SessionReopened) => void): Unsubscribe;
  onTokenRefreshFailed(handler: (failure: TokenRefreshFailure) => void): Unsubscribe;
  /** The session's own participant changed, here or on another device. */
  onParticipantUpdated(handler: (participant: Participant) => void): Unsubscribe;
  /** Watched participants changed: the latest of each. */
  onParticipantsChanged(handler: (participants: Participant[]) => void): Unsubscribe;
}

/** Participant ids, or ids and external ids. */
export type Who = string | readonly string[] | { ids?: readonly string[]; externalIds?: readonly string[] };

/**
 * Some participants, and how they change: `for await (const participant of watch)`. State, not messages: a slow
 * reader gets the latest of each. Ends with the session, or with `close`; survives reconnecting.
 */
export declare class Watch implements AsyncIterableIterator<Participant> {
  private constructor();
  /** The latest of each. */
  readonly participants: Participant[];
  next(): Promise<IteratorResult<Participant, undefined>>;
  return(): Promise<IteratorResult<Participant, undefined>>;
  /** Participants of another watch stay watched for it. */
  close(): Promise<void>;
  [Symbol.asyncIterator](): Watch;
}

/** Needs an open session, and the session scope `notifications:set`. */
export declare class ParticipantsService {
  private constructor();
  /** The present records. Somebody who never opened a session reads as offline, version 0, without a name; with the externalId it was asked by. */
  get(who: Who): Promise<Participant[]>;
  watch(who: Who, onChange?: (participant: Participant) => void): Promise<Watch>;
  /** Stops watching these, for every `Watch`. */
  unwatch(who: Who): Promise<void>;
}

export interface GreenroomOptions {
  /** This installation of the app. Left out: in a browser the tab, elsewhere a device without a name. */
  device?: Device;
  /**
   * In a browser: `away` by itself while the page is hidden or nobody uses it, and `available` again. true: after 60 s
   * hidden or 300 s idle. Seconds; null for never. Left out or false: not at all. A status that the app sets itself stays.
   */
  autoAway?: boolean | { hidden?: number | null; idle?: number | null };
  /** The WebSocket to use; left out: the global one. Node 20 has none: pass the one of the package `ws`. */
  webSocket?: new (url: string, protocol: string) => unknown;
  /** Left out: `crypto.getRandomValues`, which React Native has with `react-native-get-random-values`. */
  getRandomValues?: (bytes: Uint8Array) => Uint8Array;
}

/** The way to one Greenroom service. Making it opens nothing. */
export declare class Greenroom {
  /** url: e.g. `https://sessions.example.com`; http, https, ws and wss are taken, and a path. */
  constructor(url: string, options?: GreenroomOptions);
  readonly session: SessionService;
  readonly participants: ParticipantsService;
  /**
   * Use this client access token. refresh is called at 1/2 and 3/4 of the token's life with false, at its end with
   * true; without one the session ends with the token. token null: refresh is asked for the first one, too.
   */
  initializeToken(token: string | null, refresh?: Refresh | null): void;
  /** For prototypes: the SDK gets v1 client access tokens itself. An app secret does not belong on a user's device. */
  initialize(appKey: string, appSecret: string): void;
  /** The app or the network is back: dials at once, or looks whether the connection lives. Browsers need no call. */
  wake(): void;
  /** Closes the session, ends all background work, and stops listening to the page. */
  dispose(): void;
}

/** Root of all errors. `message` is `text` and `hint`. */
export declare class GreenroomError extends Error {
  /** A number of docs/reference/codes.md. */
  readonly code: number;
  /** The stable word for it, e.g. `Invalid_token`. */
  readonly reason: string;
  /** Whether the same call may succeed later without anything being changed. */
  readonly retryable: boolean;
  /** What is wrong. */
  readonly text: string;
  /** What to change. */
  readonly hint: string;
  /** Of SessionEndedError. */
  readonly endReason?: string;
  /** Of ScopeMissingError. */
  readonly scope?: string;
  /** Of ParticipantBlockedError: Unix milliseconds, null for good. */
  readonly until?: number | null;
  /** Of RevisionConflictError: the present record. */
  readonly participant?: Participant;
  /** Of ServiceUnavailableError and RateLimitedError: seconds. */
  readonly retryAfter?: number;
}

type ErrorClass = typeof GreenroomError;

/** The error tree, the same as the Python SDK's. `error instanceof errors.TokenInvalidError`. */
export declare const errors: {
  readonly GreenroomError: ErrorClass;
  readonly NotInitializedError: ErrorClass;
  readonly IllegalArgumentError: ErrorClass;
  readonly SessionError: ErrorClass;
  readonly SessionNotOpenError: ErrorClass;
  readonly SessionAlreadyOpenError: ErrorClass;
  readonly OpenCancelledError: ErrorClass;
  readonly OpenTimeoutError: ErrorClass;
  readonly SessionEndedError: ErrorClass;
  readonly TokenError: ErrorClass;
  readonly TokenInvalidError: ErrorClass;
  readonly TokenExpiredError: ErrorClass;
  readonly TokenRefreshError: ErrorClass;
  readonly ScopeMissingError: ErrorClass;
  readonly ParticipantError: ErrorClass;
  readonly ExternalIdMismatchError: ErrorClass;
  readonly TooManySessionsError: ErrorClass;
  readonly ParticipantBlockedError: ErrorClass;
  readonly RevisionConflictError: ErrorClass;
  readonly ServiceError: ErrorClass;
  readonly ServiceUnavailableError: ErrorClass;
  readonly RateLimitedError: ErrorClass;
  readonly ProtocolError: ErrorClass;
};
