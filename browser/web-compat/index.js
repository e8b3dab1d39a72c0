/**
 * @greenroom/web-compat: the names of the platform's Web SDK. Sessions run against Greenroom, conferences over its
 * rooms; media are the app's own. docs/how-to/migrate-from-voxeet-dolby.md says how to put it into an app.
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
