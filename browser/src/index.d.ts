/** Greenroom's SDK for browsers, React Native, Node, Deno and Bun. Times are seconds unless a name says otherwise. */

/** The state of a session. `isOpen` is true in `connected` and `reconnecting`. */
export type SessionState = 'disconnected' | 'connecting' | 'connected' | 'reconnecting';

/**
 * `online`: a session has a connection. `unreachable`: there are sessions, none is connected. `offline`: no session.
 */
export type Presence = 'online' | 'unreachable' | 'offline';

/** The profile of a participant. In `open`, what is left out stays as it is, and "" clears. */
export interface ParticipantInfo {
  /** At most 256 characters. */
  readonly name?: string;
  /** At most 2,048 characters; https, http or relative. */
  readonly avatarUrl?: string;
  /** The app's own id; at most 1,024 bytes of UTF-8. Leave it out if the token has it. */
  readonly externalId?: string;
  /**
      * What else the app stores about the participant, by name: up to 32, names of 1 to 64 characters, texts of up to
      * 1,024
   * bytes, 4 KiB together. In `open` they are merged into the stored ones, and null removes one. Of a participant:
   * undefined if there are none.
   */
  readonly attributes?: Attributes;
}

/** Texts by name. null removes one, in calls only: a participant's attributes are never null. */
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
  /**
   * The status of the most available session: available, a text of the app's own, busy, away. undefined: no session.
   */
  readonly availability?: SessionStatus;
  /** Counts changes of name, avatar and attributes. */
  readonly revision: number;
  /** Rises at every change; newer is higher. */
  readonly version: number;
    /** Unix milliseconds; undefined if never seen. */
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
    /** The device that replaced the session, if one did. */
  readonly by?: Device;
  readonly error: GreenroomError;
}

/** A new session replaced one that the service no longer had. */
export interface SessionReopened {
  readonly participant: Participant;
    /** Why the old session was gone. */
  readonly reason: string;
    /** The participant's previous id; it differs if the participant is anonymous. */
  readonly previousId: string;
}

export interface TokenRefreshFailure {
  readonly error: GreenroomError;
  /** False: harmless. True: the session cannot continue with this token. */
  readonly isExpired: boolean;
}

/** Removes a handler. `remove` does the same, as in the platform's React Native SDK. */
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
    /** The session scopes of the token, as reported by the service. */
  readonly scopes: string[];
  device?: Device;

  private constructor();

  /**
      * Opens a session. If one is open, and with the same or no info, resolves with the present participant. Concurrent
   * callers share one open. Temporary failures are retried until the timeout.
   */
  open(info?: ParticipantInfo | null, options?: OpenOptions): Promise<Participant>;
  /** Ends the session. Never rejects. Waits for the service, 2 seconds at most. The token is kept. */
  close(): Promise<void>;
  /** From a successful `open` until `close` or a final end, also while reconnecting. */
  isOpen(): Promise<boolean>;
    /** The session's participant, read from the service. */
  getParticipant(): Promise<Participant>;
    /**
     * undefined or null leaves a value as it is, "" clears it. ifRevision: change only if this is the present revision.
     */
  updateParticipantInfo(
    name?: string | null,
    avatarUrl?: string | null,
    options?: { ifRevision?: number },
  ): Promise<Participant>;
    /** The same by name. attributes: merged into the stored ones; null removes one. */
  updateParticipantInfo(
    info: { name?: string | null; avatarUrl?: string | null; attributes?: Attributes | null },
    options?: { ifRevision?: number },
  ): Promise<Participant>;
  /** What `setStatus` set last, `available` at first; undefined without a session. */
  readonly status: SessionStatus | undefined;
  /**
      * Sets how available this session's user is. The status outlives connections, is kept by an automatic reopen, and
      * ends
   * with the session. Needs `session:update`.
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
  * Watched participants, and their changes: `for await (const participant of watch)`. State, not messages: a slow
 * reader gets the latest record of each. It survives reconnecting, and ends with the session or with `close`.
 */
export declare class Watch implements AsyncIterableIterator<Participant> {
  private constructor();
    /** The latest record of each. */
  readonly participants: Participant[];
  next(): Promise<IteratorResult<Participant, undefined>>;
  return(): Promise<IteratorResult<Participant, undefined>>;
    /** Stops watching those that no other `Watch` watches. */
  close(): Promise<void>;
  [Symbol.asyncIterator](): Watch;
}

/** Needs an open session, and the session scope `notifications:set`. */
export declare class ParticipantsService {
  private constructor();
    /**
   * The present records. A participant who has never opened a session reads as offline with version 0, without a name;
   * when looked up by external id, with that externalId.
   */
  get(who: Who): Promise<Participant[]>;
  watch(who: Who, onChange?: (participant: Participant) => void): Promise<Watch>;
  /** Stops watching these, for every `Watch`. */
  unwatch(who: Who): Promise<void>;
}

/** A member of a room: a participant with at least one session in it. */
export interface Member {
  /** The participant's. */
  readonly id: string;
  /** `attributes`: those that the application shows in rosters. */
  readonly info: ParticipantInfo;
  readonly status: 'CONNECTED' | 'CONNECTING' | 'LEFT';
  readonly type: 'USER';
  /** Of its sessions in the room. */
  readonly presence: Presence;
  /** How many sessions in the room. */
  readonly sessions: number;
  readonly availability: SessionStatus;
    /** Unix milliseconds: since when it has been a member without interruption. */
  readonly joinedAt: number;
}

/**
 * Someone who left. reason: `left`, `kicked`, `closed`, `timeout`, …; undefined if it happened while the connection was
 * lost, or if the roster may no longer be seen.
 */
export interface MemberLeft {
  readonly member: Member;
  readonly reason?: string;
}

/** How a roster changed. A member in both `left` and `joined` left and joined again. */
export interface RoomChange {
  readonly joined: Member[];
  readonly changed: Member[];
  readonly left: MemberLeft[];
  /** Members, and the roster's version, after it. */
  readonly count: number;
  readonly version: number;
}

/**
 * Why a room was closed: `left`, `kicked`, `ended`, `permission_lost`, `lost`, how the session ended, or why it was
 * refused.
 */
export interface RoomClosed {
  readonly reason: string;
    /** Set if joining or watching again was refused, after a new session had replaced a lost one. */
  readonly error?: GreenroomError;
}

/** Who sent a message: only `{ id }` if the roster does not have them; undefined: the app's backend. */
export type Sender = Member | { readonly id: string; readonly info?: undefined } | undefined;

export interface RoomEvents {
  /** Each change, after `left` and `joined`. */
  changed: (change: RoomChange) => void;
  joined: (member: Member) => void;
  left: (left: MemberLeft) => void;
  /** Numbers only grow; not in a room that is only watched. */
  message: (message: any, sender: Sender, number: number) => void;
    /** The number of messages that were dropped because this client read too slowly. */
  missed: (count: number) => void;
  /** The last event. */
  closed: (closed: RoomClosed) => void;
}

/**
  * A room that was joined, or is watched. It survives reconnecting, and is joined again if the session was lost.
 * `for await (const change of room)`: a slow reader gets several changes as one.
 */
export declare class Room implements AsyncIterable<RoomChange> {
  private constructor();
  readonly name: string;
    /** The room's id, made when it was opened: the platform's conferenceId. */
  readonly id: string | undefined;
  /** Of a room that was joined: until it is closed. */
  readonly isMember: boolean;
  readonly isClosed: boolean;
  /** False: a counted room, whose `members` are empty. */
  readonly isDetailed: boolean;
    /**
     * By participant id; changes with the roster. A roster of more than a few hundred members arrives in several parts.
     */
  readonly members: ReadonlyMap<string, Member>;
  readonly count: number;
  /** Of the roster; newer is higher. */
  readonly version: number;

  on<Name extends keyof RoomEvents>(name: Name, handler: RoomEvents[Name]): Unsubscribe;
    /** All members, read from the service page by page. */
  allMembers(): AsyncIterableIterator<Member>;
    /** message: any JSON value, 16 KiB. to: participant ids; left out: all members. Resolves when it is published. */
  send(message: unknown, options?: { to?: string | readonly string[] | null }): Promise<void>;
  /** text: 1 KiB. */
  invite(who: Who, options?: { text?: string | null }): Promise<void>;
    /** seconds for which the participant is kept out; 60 by default. */
  kick(id: string, options?: { seconds?: number | null }): Promise<void>;
    /** Ends the membership, or the watch. Never rejects. */
  leave(): Promise<void>;
  [Symbol.asyncIterator](): AsyncIterableIterator<RoomChange>;
}

/** An invitation to a room. */
export interface Invitation {
  readonly id: string;
  readonly room: string;
  /** Unix milliseconds. */
  readonly createdAt: number;
  /** Unix milliseconds. */
  readonly expiresAt: number;
  /** Participant id; undefined: the app's backend. */
  readonly inviter?: string;
  readonly inviterName?: string;
  readonly text?: string;
}

/** An invitation by this participant was answered. */
export interface InvitationAnswer {
  readonly invitationId: string;
  readonly room: string;
  readonly participantId: string;
  readonly accepted: boolean;
}

/** Needs an open session. Names of rooms have 1 to 250 bytes of UTF-8, and no control characters. */
export declare class RoomsService {
  private constructor();
    /**
     * The rooms of which the session is a member. After a reload they are there as soon as `open` has resumed the
     * session.
     */
  readonly joined: Room[];
    /** Invitations that wait for an answer. */
  readonly invitations: Invitation[];
  /** `invited`: also those that waited when the session was opened. */
  on(name: 'invited', handler: (invitation: Invitation) => void): Unsubscribe;
  on(name: 'answered', handler: (answer: InvitationAnswer) => void): Unsubscribe;
  /**
      * Opens an empty room; one that exists stays as it is. Returns its id. ttl: how many seconds it outlasts its last
   * member, at most 600; left out: 0. detailed false: a counted room. Needs the scope `conf:create`.
   */
  create(name: string, options?: { ttl?: number | null; detailed?: boolean | null }): Promise<string>;
    /**
     * Opens the room if it does not exist. Joining again returns the same Room. signal: aborting a join leaves the
     * room.
     */
  join(name: string, options?: { signal?: AbortSignal | null }): Promise<Room>;
    /** Watches a room without joining it; a room that is not open is empty. Needs the scope `notifications:set`. */
  watch(name: string, options?: { signal?: AbortSignal | null }): Promise<Room>;
  /** The name of the room that has this id. */
  find(roomId: string): Promise<string>;
  /**
      * Notifies the inviter, and joins the room, also if the invitation was accepted before or has expired. Rejects
      * with
   * InvitationAnsweredError if it was declined before.
   */
  accept(invitation: Invitation): Promise<Room>;
    /** Notifies the inviter, once. Rejects with InvitationAnsweredError if it was accepted before. */
  decline(invitation: Invitation): Promise<void>;
}

export interface GreenroomOptions {
  /** This installation of the app. Left out: in a browser the tab, elsewhere a device without a name. */
  device?: Device;
  /**
      * In a browser: sets `away` while the page is hidden or not used, and `available` when the user is back. true:
      * after
   * 60 s hidden or 300 s idle. Seconds; null for never. Left out or false: off. A status that the app sets itself
   * stays.
   */
  autoAway?: boolean | { hidden?: number | null; idle?: number | null };
    /** The WebSocket class. Left out: the global one. Node 20 has none: pass that of the package `ws`. */
  webSocket?: new (url: string, protocol: string) => unknown;
  /** Left out: `crypto.getRandomValues`, which React Native has with `react-native-get-random-values`. */
  getRandomValues?: (bytes: Uint8Array) => Uint8Array;
}

/** The client of one Greenroom service. The constructor opens nothing. */
export declare class Greenroom {
    /** url: e.g. `https://sessions.example.com`; http, https, ws or wss, with a path if the service has one. */
  constructor(url: string, options?: GreenroomOptions);
  readonly session: SessionService;
  readonly participants: ParticipantsService;
  readonly rooms: RoomsService;
  /**
      * Use this client access token. refresh is called at 1/2 and 3/4 of the token's lifetime with false, at its expiry
      * with
   * true; without refresh the session ends with the token. token null: refresh is called for the first one, too.
   */
  initializeToken(token: string | null, refresh?: Refresh | null): void;
  /** For prototypes: the SDK gets v1 client access tokens itself. An app secret does not belong on a user's device. */
  initialize(appKey: string, appSecret: string): void;
    /** The app or the network is back: reconnects at once, or checks the connection. Browsers need no call. */
  wake(): void;
  /** Closes the session, ends all background work, and stops listening to the page. */
  dispose(): void;
}

/** Root of all errors. `message` is `text` and `hint`. */
export declare class GreenroomError extends Error {
  /** A number of docs/reference/codes.md. */
  readonly code: number;
    /** The stable code of the error, e.g. `Invalid_token`. */
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
  /** Of RoomPermissionError: join, watch, send, invite or kick. */
  readonly permission?: string;
  /** Of ParticipantBlockedError and KeptOutError: Unix milliseconds, null for good. */
  readonly until?: number | null;
    /** Of InvitationAnsweredError: the first answer. */
  readonly accepted?: boolean;
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
  readonly RoomError: ErrorClass;
  readonly RoomPermissionError: ErrorClass;
  readonly RoomFullError: ErrorClass;
  readonly KeptOutError: ErrorClass;
  readonly NotAMemberError: ErrorClass;
  readonly RoomLimitError: ErrorClass;
  readonly InvitationAnsweredError: ErrorClass;
  readonly ServiceError: ErrorClass;
  readonly ServiceUnavailableError: ErrorClass;
  readonly RoomsUnavailableError: ErrorClass;
  readonly RoomEndingError: ErrorClass;
  readonly RateLimitedError: ErrorClass;
  readonly ProtocolError: ErrorClass;
};
