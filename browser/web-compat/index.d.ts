import type { Greenroom, GreenroomOptions, ParticipantInfo, Refresh } from '@greenroom/client';

export interface ConfigureOptions extends GreenroomOptions {
  /** Of the Greenroom service, e.g. `https://sessions.example.com`. */
  url: string;
  media?: Media;
}

/**
 * The app's own media layer. What it has is called in place of the platform's, by the same paths: `startAudio`,
 * `audio.local.start`. What it lacks throws, or rejects, with code `notAvailable`.
 */
export interface Media {
  /** The conference is joined when this is done; where it rejects, the conference is left. */
  join?(conference: { id: string; alias: string }, options: Record<string, unknown>): unknown;
  /** The conference was left, or has ended. */
  leave?(): unknown;
  [member: string]: unknown;
}

/** The platform's own; `host` takes the place of `configure({ url })`, the others have no use here. */
export interface Configuration {
  host?: string;
  wsHost?: string;
  fileHost?: string;
  enableTelemetry?: boolean;
  telemetryHost?: string;
}

/** In the platform's form. Reserved and Decline: invited by this SDK. */
export interface Participant {
  id: string;
  info: ParticipantInfo;
  status: 'Connected' | 'Connecting' | 'Left' | 'Kicked' | 'Reserved' | 'Decline';
  type: 'user';
  /** Always empty: Greenroom has no media. */
  streams: [];
  audioTransmitting: false;
  videoTransmitting: false;
}

/** Node's event emitter, as far as apps use it. */
export interface WithEvents {
  on(event: string, listener: (...values: any[]) => void): this;
  once(event: string, listener: (...values: any[]) => void): this;
  off(event: string, listener: (...values: any[]) => void): this;
  addListener(event: string, listener: (...values: any[]) => void): this;
  removeListener(event: string, listener: (...values: any[]) => void): this;
  removeAllListeners(event?: string): this;
}

export interface SessionService extends WithEvents {
  /** null without an open session. */
  readonly participant: Participant | null;
  isOpen(): boolean;
  open(info?: ParticipantInfo | null): Promise<void>;
  close(): Promise<void>;
  /** Left out, undefined or null leaves as it is, "" clears. */
  updateParticipantInfo(info: ParticipantInfo): Promise<void>;
  updateParticipantInfo(name?: string | null, avatarUrl?: string | null): Promise<void>;
}

/** A conference is the room of its alias, which has no upper case and no `#`. */
export interface Conference {
  readonly id: string;
  readonly alias: string;
  readonly isNew: boolean;
  readonly isProtected: false;
  readonly isAudioOnly: false;
  readonly pinCode: '';
  readonly params: Record<string, never>;
  readonly permissions: Set<string>;
  readonly status: 'default' | 'creating' | 'created' | 'joining' | 'joined' | 'leaving' | 'left' | 'ended' | 'error';
  /** Of the moment. */
  readonly participants: Map<string, Participant>;
}

/** Events: joined, left, ended, error, participantAdded, participantUpdated. All other methods are the app's media layer's. */
export interface ConferenceService extends WithEvents {
  /** null where none is joined. */
  readonly current: Conference | null;
  readonly participants: Map<string, Participant>;
  /** ttl: seconds, at most 600. Other parameters have no effect. */
  create(options?: { alias?: string; params?: { ttl?: number; [name: string]: unknown } }): Promise<Conference>;
  fetch(conferenceId?: string): Promise<Conference>;
  /** Leaves the one before. options are handed on to `media.join`. */
  join(conference: { id?: string; alias?: string }, options?: Record<string, any>): Promise<Conference>;
  leave(options?: { leaveRoom?: boolean }): Promise<void>;
  kick(participant: { id: string }): Promise<void>;
  readonly [member: string]: any;
}

/** Event: received, (participant, message). */
export interface CommandService extends WithEvents {
  send(message: string): Promise<void>;
}

/** type: Invitation, or one of the others with an alias. */
export interface Subscription {
  type:
    | 'Invitation'
    | 'Conference.ActiveParticipants'
    | 'Conference.Created'
    | 'Conference.Ended'
    | 'Participant.Joined'
    | 'Participant.Left';
  conferenceAlias?: string;
}

/**
 * Events: invitation, conferenceStatus, conferenceCreated, conferenceEnded, participantJoined, participantLeft,
 * activeParticipants.
 */
export interface NotificationService extends WithEvents {
  /** Each `{ externalId }`, or `{ info: { externalId } }`. */
  invite(conference: { id?: string; alias?: string }, participants: readonly object[]): Promise<void>;
  decline(conference: { id?: string; alias?: string }): Promise<void>;
  subscribe(subscriptions: readonly Subscription[]): Promise<void>;
  unsubscribe(subscriptions: readonly Subscription[]): Promise<void>;
}

/** Each method is the app's media layer's, or throws or rejects with an error whose `code` is `notAvailable`. */
export interface NotAvailableService extends WithEvents {
  readonly [member: string]: any;
}

export interface VoxeetSDK {
  /** Before `initialize` and `initializeToken`: where the Greenroom service is. */
  configure(options: ConfigureOptions): void;
  /** Takes effect at once; rejects where the arguments are refused. */
  initialize(customerKey: string, customerSecret: string, configuration?: Configuration): Promise<void>;
  /** Takes effect at once; rejects where the arguments are refused. callback returns a new token, or its promise. */
  initializeToken(accessToken: string | null, callback?: Refresh | null, configuration?: Configuration): Promise<void>;
  /** Greenroom itself: `session.onStateChanged`, `participants` and what else the platform did not have. */
  readonly greenroom: Greenroom | undefined;
  readonly session: SessionService;
  readonly audio: NotAvailableService;
  readonly broadcasting: NotAvailableService;
  readonly command: CommandService;
  readonly conference: ConferenceService;
  readonly extensions: NotAvailableService;
  readonly filePresentation: NotAvailableService;
  readonly mediaDevice: NotAvailableService;
  readonly notification: NotificationService;
  readonly recording: NotAvailableService;
  readonly video: NotAvailableService;
  readonly videoFilters: NotAvailableService;
  readonly videoPresentation: NotAvailableService;
  /** Of this package. */
  readonly version: string;
  packageUrlPrefix: string;
  uxkitVersion: string;
  region(region?: string): void;
  displaySettings(): void;
  registerComponentVersion(name: string, version: string): void;
}

declare const VoxeetSDK: VoxeetSDK;
export default VoxeetSDK;
export { VoxeetSDK };
export declare const configure: VoxeetSDK['configure'];
export declare const initialize: VoxeetSDK['initialize'];
export declare const initializeToken: VoxeetSDK['initializeToken'];
export declare const audio: VoxeetSDK['audio'];
export declare const broadcasting: VoxeetSDK['broadcasting'];
export declare const command: VoxeetSDK['command'];
export declare const conference: VoxeetSDK['conference'];
export declare const extensions: VoxeetSDK['extensions'];
export declare const filePresentation: VoxeetSDK['filePresentation'];
export declare const mediaDevice: VoxeetSDK['mediaDevice'];
export declare const notification: VoxeetSDK['notification'];
export declare const recording: VoxeetSDK['recording'];
export declare const session: VoxeetSDK['session'];
export declare const video: VoxeetSDK['video'];
export declare const videoFilters: VoxeetSDK['videoFilters'];
export declare const videoPresentation: VoxeetSDK['videoPresentation'];
