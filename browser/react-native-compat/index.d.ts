import type { Greenroom, GreenroomOptions } from '@greenroom/client';

export interface CompatOptions extends GreenroomOptions {
  /** Of the Greenroom service, e.g. `https://sessions.example.com`. */
  url: string;
  /** Whose words errors have; left out: the platform the app runs on. */
  os?: 'ios' | 'android';
}

/** The native side that the platform's JavaScript layer talks to. */
export declare class Bridge {
  readonly modules: Record<string, Record<string, (...values: never[]) => Promise<unknown>>>;
  /** Greenroom itself: `onStateChanged`, `participants` and what else the platform did not have. */
  readonly sdk: Greenroom | undefined;
  os: string;
  configure(options: CompatOptions): void;
  wake(): void;
}

/** The one of this app. */
export declare const bridge: Bridge;

/** Before anything else: where the Greenroom service is. */
export declare function configure(options: CompatOptions): void;
