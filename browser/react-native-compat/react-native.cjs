/**
 * 'react-native' as @dolbyio/comms-sdk-react-native sees it: React Native itself, with Greenroom's native modules.
 * metro.cjs puts it there; no other package is touched.
 */
const ReactNative = require('react-native');
const { bridge } = require('./index.js');

const { Platform, AppState } = ReactNative;
if (Platform && Platform.OS) bridge.os = Platform.OS;
// A phone stops the app in the background; back in the foreground the connection is looked after at once.
if (AppState && AppState.addEventListener)
  AppState.addEventListener('change', (state) => {
    if (state === 'active') bridge.wake();
  });

const NativeModules = new Proxy(bridge.modules, {
  get: (modules, name) => modules[name] ?? ReactNative.NativeModules[name],
});

const replaced = {
  NativeModules,
  NativeEventEmitter: bridge.NativeEventEmitter,
  requireNativeComponent: (name) =>
    name === 'COMVideoView'
      ? () => {
          throw new Error('VideoView is not available: Greenroom has sessions, presence and rooms, and no media.');
        }
      : ReactNative.requireNativeComponent(name),
};

// React Native loads its parts as they are asked for: a copy would load them all.
module.exports = new Proxy(ReactNative, {
  get: (target, name) => (name in replaced ? replaced[name] : target[name]),
});
