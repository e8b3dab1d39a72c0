/**
 * Loads the unchanged @dolbyio/comms-sdk-react-native in Node: 'react' and 'react-native' are what little of them its
 * modules touch as they are loaded; its own 'react-native' is the compat package's, as metro.cjs would have it.
 */
import Module, { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const compat = new URL('../../react-native-compat/', import.meta.url);

class Component {}

const react = { Component, PureComponent: Component, createElement: (...parts) => parts };
const states = new Set();
export const reactNative = {
  NativeModules: { Other: { answer: 42 } },
  NativeEventEmitter: class {
    constructor() {
      throw new Error("React Native's own emitter was used");
    }
  },
  requireNativeComponent: (name) => name,
  Platform: { OS: 'ios', select: (choice) => choice.ios },
  AppState: { addEventListener: (_, listener) => states.add(listener) },
  StyleSheet: { create: (styles) => styles },
  LogBox: { ignoreLogs() {} },
  UIManager: {},
  View: 'View',
  findNodeHandle: () => 1,
};
/** The app goes to the background or comes back. */
export const appState = (state) => states.forEach((listener) => listener(state));

const load = Module._load;
let other; // the bridge of an app that is not the only one in this process
const { withGreenroom } = require(fileURLToPath(new URL('metro.cjs', compat)));
const { resolver } = withGreenroom({});
Module._load = function (name, parent, ...rest) {
  if (name === 'react') return react;
  // Metro's question and answer, with Node's file names.
  const context = { originModulePath: parent?.filename ?? '', resolveRequest: (_, asked) => asked };
  const asked = resolver.resolveRequest(context, name, 'ios');
  if (asked === 'react-native') return reactNative;
  if (asked === '@greenroom/react-native-compat/react-native' && other)
    return { ...reactNative, NativeModules: other.modules, NativeEventEmitter: other.NativeEventEmitter };
  if (asked === '@greenroom/react-native-compat/react-native')
    return load.call(this, fileURLToPath(new URL('react-native.cjs', compat)), parent, ...rest);
  return load.call(this, asked, parent, ...rest);
};

/** `import CommsAPI from '@dolbyio/comms-sdk-react-native'`, as an app has it. bridge: of one more app in this process. */
export const loadPlatform = (bridge) => {
  const { log } = console;
  console.log = () => {}; // it prints its native modules
  other = bridge;
  try {
    for (const name of Object.keys(require.cache)) if (/[\\/]comms-sdk-react-native[\\/]/.test(name)) delete require.cache[name];
    return require('@dolbyio/comms-sdk-react-native');
  } finally {
    console.log = log;
    other = undefined;
  }
};
