import type { Greenroom, GreenroomOptions } from '@greenroom/client';

/** A conference as the app's media layer gets it. */
export interface Conference {
  id: string;
  alias: string;
  isNew: boolean;
  participants: unknown[];
  status: string;
}

/**
 * The app's own media layer. What it has is called in place of the platform's: methods of the conference by their names,
 * others in an object of their own. What it lacks rejects with code `notAvailable`.
 */
export interface Media {
  /** The conference is joined when this is done; where it rejects, the conference is left. */
  join?(conference: Conference, options: Record<string, unknown>): unknown;
  /** The conference was left, or has ended. */
  leave?(): unknown;
  audioPreview?: Record<string, (...values: any[]) => unknown>;
  localAudio?: Record<string, (...values: any[]) => unknown>;
  localVideo?: Record<string, (...values: any[]) => unknown>;
  remoteAudio?: Record<string, (...values: any[]) => unknown>;
  remoteVideo?: Record<string, (...values: any[]) => unknown>;
  mediaDevice?: Record<string, (...values: any[]) => unknown>;
  recording?: Record<string, (...values: any[]) => unknown>;
  filePresentation?: Record<string, (...values: any[]) => unknown>;
  videoPresentation?: Record<string, (...values: any[]) => unknown>;
  /** Of the conference: `startAudio`, `stopAudio`, `startVideo`, `stopVideo`, `mute`, `isMuted`, `isSpeaking`, … */
  [method: string]: unknown;
}

export interface CompatOptions extends GreenroomOptions {
  /** Of the Greenroom service, e.g. `https://sessions.example.com`. */
  url: string;
  /** Whose words errors have; left out: the platform the app runs on. */
  os?: 'ios' | 'android';
  media?: Media;
}

/** The native side that the platform's JavaScript layer talks to. */
export declare class Bridge {
  readonly modules: Record<string, Record<string, (...values: never[]) => Promise<unknown>>>;
  /** Greenroom itself: `onStateChanged`, `participants` and what else the platform did not have. */
  readonly sdk: Greenroom | undefined;
  os: string;
  configure(options: CompatOptions): void;
  wake(): void;
  /** For the media layer: sends an event of the native modules, e.g. `EVENT_CONFERENCE_STREAM_ADDED`. Whether someone listens. */
  emit(name: string, body: unknown): boolean;
}

/** The one of this app. */
export declare const bridge: Bridge;

/** Before anything else: where the Greenroom service is. */
export declare function configure(options: CompatOptions): void;
