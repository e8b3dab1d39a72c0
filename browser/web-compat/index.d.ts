import type { Greenroom, GreenroomOptions, ParticipantInfo, Refresh } from '@greenroom/client';

export interface ConfigureOptions extends GreenroomOptions {
  /** Of the Greenroom service, e.g. `https://sessions.example.com`. */
  url: string;
}

/** The platform's own; `host` takes the place of `configure({ url })`, the others have no use here. */
export interface Configuration {
  host?: string;
  wsHost?: string;
  fileHost?: string;
  enableTelemetry?: boolean;
  telemetryHost?: string;
}

/** The session's participant, in the platform's form. */
export interface Participant {
  id: string;
  info: ParticipantInfo;
  status: 'Connected' | 'Connecting' | 'Left';
  type: 'user';
  /** Always empty: Greenroom has no media. */
  streams: [];
  audioTransmitting: false;
  videoTransmitting: false;
}

/** Event listeners are taken, and never called. */
export interface WithoutEvents {
  on(event: string, listener: (...values: any[]) => void): this;
  once(event: string, listener: (...values: any[]) => void): this;
  off(event: string, listener: (...values: any[]) => void): this;
  addListener(event: string, listener: (...values: any[]) => void): this;
  removeListener(event: string, listener: (...values: any[]) => void): this;
  removeAllListeners(event?: string): this;
}

export interface SessionService extends WithoutEvents {
  /** null without an open session. */
  readonly participant: Participant | null;
  isOpen(): boolean;
  open(info?: ParticipantInfo | null): Promise<void>;
  close(): Promise<void>;
  /** Left out, undefined or null leaves as it is, "" clears. */
  updateParticipantInfo(info: ParticipantInfo): Promise<void>;
  updateParticipantInfo(name?: string | null, avatarUrl?: string | null): Promise<void>;
}

/** Each method throws or rejects with an error whose `code` is `notAvailable`. */
export interface NotAvailableService extends WithoutEvents {
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
  readonly command: NotAvailableService;
  readonly conference: NotAvailableService;
  readonly extensions: NotAvailableService;
  readonly filePresentation: NotAvailableService;
  readonly mediaDevice: NotAvailableService;
  readonly notification: NotAvailableService;
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
