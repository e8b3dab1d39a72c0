/**
 * @greenroom/web-compat: the names of the platform's Web SDK. Initialisation and sessions run against Greenroom; what
 * Greenroom does not have says so. docs/how-to/migrate-from-voxeet-dolby.md says how to put it into an app.
 */
import { createVoxeetSDK } from './voxeet.js';

const VoxeetSDK = createVoxeetSDK();

export default VoxeetSDK;
export { VoxeetSDK };
export const {
  configure,
  initialize,
  initializeToken,
  audio,
  broadcasting,
  command,
  conference,
  extensions,
  filePresentation,
  mediaDevice,
  notification,
  recording,
  session,
  video,
  videoFilters,
  videoPresentation,
} = VoxeetSDK;
