/** The native modules that @dolbyio/comms-sdk-react-native 3.10.1 asks for, found in its own source. */
import { strict as assert } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import './support/resolve.mjs';

test('every method that the package calls on a native module is there', async () => {
  const { Bridge } = await import('../react-native-compat/bridge.js');
  const ours = new Map(Object.entries(new Bridge().modules).map(([name, methods]) => [name, Object.keys(methods)]));
  const folder = new URL('../node_modules/@dolbyio/comms-sdk-react-native/src/', import.meta.url);
  const files = readdirSync(folder, { recursive: true }).filter((name) => /\.tsx?$/.test(name) && !/test/i.test(name));
  const missing = [];
  let calls = 0;
  for (const file of files) {
    const source = readFileSync(new URL(file, folder), 'utf8').replace(/\/\*[^]*?\*\//g, '');
    const module = /const \{ (CommsAPI\w*Module) \} = NativeModules/.exec(source)?.[1];
    if (!module) continue;
    const held = /(_\w+) = CommsAPI\w+Module;/.exec(source)?.[1] ?? module;
    for (const [, method] of source.matchAll(new RegExp(`\\b(?:this\\s*\\.)?${held}\\s*\\.\\s*(\\w+)\\(`, 'g'))) {
      calls += 1;
      if (!ours.get(module)?.includes(method)) missing.push(`${module}.${method}`);
    }
    if (!ours.has(module)) missing.push(module);
  }
  assert.ok(calls > 60, `${calls} calls found`);
  assert.deepEqual(missing, []);
});

test("Metro gives the compat package's react-native to the platform's package alone", async () => {
  const { default: metro } = await import('../react-native-compat/metro.cjs');
  const resolve = (originModulePath, name) =>
    metro
      .withGreenroom({ resolver: { sourceExts: ['js'] } })
      .resolver.resolveRequest({ originModulePath, resolveRequest: (_, asked) => asked }, name, 'ios');
  const platform = '/app/node_modules/@dolbyio/comms-sdk-react-native/lib/module/CommsAPI.js';
  assert.equal(resolve(platform, 'react-native'), '@greenroom/react-native-compat/react-native');
  assert.equal(resolve(platform, 'react'), 'react');
  assert.equal(resolve('/app/App.js', 'react-native'), 'react-native');
  assert.equal(resolve('C:\\app\\node_modules\\@dolbyio\\comms-sdk-react-native\\x.js', 'react-native'), '@greenroom/react-native-compat/react-native');
  const before = metro.withGreenroom({ resolver: { resolveRequest: (context, name) => `mine:${name}` } });
  assert.equal(before.resolver.resolveRequest({ originModulePath: '/app/a.js' }, 'x', 'ios'), 'mine:x');
});
