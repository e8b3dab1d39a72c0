/**
 * For `<script src>`: the global `VoxeetSDK`. Served by a Greenroom service (`…/sdk/…`) it uses that service; from
 * elsewhere the script's `data-url` names one, or `VoxeetSDK.configure({ url })` does.
 */
import { createVoxeetSDK } from './voxeet.js';

const script = globalThis.document?.currentScript;
const url = script?.dataset.url ?? /^(https?:.*)\/sdk\/[^?#]*\.js(?:[?#]|$)/.exec(script?.src)?.[1];

globalThis.VoxeetSDK = createVoxeetSDK(url);
