/**
 * @greenroom/react-native-compat: the JavaScript layer of @dolbyio/comms-sdk-react-native runs against Greenroom.
 * docs/how-to/use-in-react-native.md says how to put it into an app.
 */
import { Bridge } from './bridge.js';

/** The one native side of an app. */
export const bridge = new Bridge();

/** Before anything else: where the Greenroom service is. */
export const configure = (options) => bridge.configure(options);

export { Bridge };
