/** The packages as users get them: what is in them, their types, and the tools that people build apps with. */
import { strict as assert } from 'node:assert';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { addPackage, installTools, makeApp, run } from './support/install.mjs';

let tools;
let app;
let packed;

before(async () => {
  tools = await installTools();
  ({ app, packed } = await makeApp(tools.folder));
});
after(() => rmSync(app, { recursive: true, force: true }));

const write = (name, text) => {
  const path = resolve(app, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
};
const node = async (...parameters) => (await run(process.execPath, parameters, { cwd: app, timeout: 60_000 })).stdout.trim();

/** What an app says that has found the SDK: prints `disconnected TokenInvalidError`. */
const USE = `
const sdk = new Greenroom('https://sessions.example.com');
let name;
try {
  sdk.initializeToken('no token');
} catch (error) {
  if (error instanceof errors.GreenroomError && error instanceof GreenroomError) name = error.name;
}
console.log(sdk.session.state, name);
`;
const SAID = 'disconnected TokenInvalidError';
const IMPORT = `import { Greenroom, GreenroomError, errors } from '@greenroom/client';${USE}`;
const REQUIRE = `const { Greenroom, GreenroomError, errors } = require('@greenroom/client');${USE}`;

// -- what is in them

const COMMON = ['LICENSE', 'README.md', 'package.json'];
const BOTH = ['dist/index.cjs', 'dist/index.d.cts', 'dist/index.d.ts', 'dist/index.js'];
const CONTENTS = {
  '@greenroom/client': ['dist/greenroom.cjs', 'dist/greenroom.d.cts', 'dist/greenroom.d.ts', 'dist/greenroom.js'],
  '@greenroom/react': BOTH,
  '@greenroom/react-native-compat': ['dist/index.cjs', 'dist/index.d.cts', 'dist/react-native.cjs', 'metro.cjs'],
  '@greenroom/web-compat': [...BOTH, 'dist/voxeet-sdk.js'],
};

test('each package holds its dist, types and licence, and nothing else', () => {
  const found = Object.fromEntries(packed.map(({ name, files }) => [name, files]));
  for (const [name, files] of Object.entries(CONTENTS))
    assert.deepEqual(found[name], [...COMMON, ...files].sort(), name);
  assert.deepEqual(Object.keys(found).sort(), Object.keys(CONTENTS));
});

test('all packages have one version, and depend on the client of that version', () => {
  const { version } = packed[0];
  for (const { name } of packed) {
    const manifest = JSON.parse(readFileSync(join(app, 'node_modules', name, 'package.json'), 'utf8'));
    assert.equal(manifest.version, version, name);
    assert.deepEqual(manifest.dependencies ?? {}, name === '@greenroom/client' ? {} : { '@greenroom/client': version });
  }
});

test('every file that a manifest names is in the package', () => {
  const paths = (value) =>
    typeof value === 'string' ? (value.startsWith('./') ? [value] : []) : Object.values(value ?? {}).flatMap(paths);
  for (const { name, files } of packed) {
    const manifest = JSON.parse(readFileSync(join(app, 'node_modules', name, 'package.json'), 'utf8'));
    const { main, module, types, exports, unpkg, jsdelivr, sideEffects } = manifest;
    const named = paths({ main, module, types, exports, unpkg, jsdelivr, sideEffects });
    assert.ok(named.length > 3, name);
    for (const path of named) assert.ok(files.includes(path.slice(2)), `${name}: ${path}`);
  }
});

test('the locks name no registry', () => {
  for (const lock of ['../package-lock.json', 'tools/package-lock.json'])
    assert.doesNotMatch(readFileSync(new URL(lock, import.meta.url), 'utf8'), /"resolved"|https?:[^"]*\.tgz/);
});

// -- Node, and frameworks that render in Node

test('Node takes import and require', async () => {
  assert.equal(await node(write('use.mjs', IMPORT)), SAID);
  assert.equal(await node(write('use.cjs', REQUIRE)), SAID);
  // Next.js: pages are loaded with the condition node, server components with react-server besides.
  assert.equal(await node('--conditions=react-server', write('use.mjs', IMPORT)), SAID);
});

test('Node loads the other packages', async () => {
  addPackage(app, 'react');
  const names = ['{ VoxeetSDK, session }', '{ GreenroomProvider }', '{ configure, bridge }'];
  const check = `
    configure({ url: 'https://sessions.example.com' });
    bridge.modules.CommsAPIModule.initialize('key', 'secret')
      .then(() => console.log(session === VoxeetSDK.session, typeof GreenroomProvider, bridge.sdk.session.state));
  `;
  const list = ['web-compat', 'react', 'react-native-compat'].map((one) => `'@greenroom/${one}'`);
  const imports = names.map((one, at) => `import ${one} from ${list[at]};`).join('\n');
  const requires = names.map((one, at) => `const ${one} = require(${list[at]});`).join('\n');
  assert.equal(await node(write('all.mjs', imports + check)), 'true function disconnected');
  assert.equal(await node(write('all.cjs', requires + check)), 'true function disconnected');
});

test('require of web-compat gives VoxeetSDK itself, as the package of the platform does', async () => {
  const text = `
    const VoxeetSDK = require('@greenroom/web-compat');
    console.log(VoxeetSDK.session.isOpen(), VoxeetSDK.default === VoxeetSDK, typeof VoxeetSDK.initializeToken);
  `;
  assert.equal(await node(write('voxeet.cjs', text)), 'false true function');
});

// -- bundlers

const webpack = (entry, target) =>
  new Promise((resolve, reject) => {
    const output = { path: join(app, 'out'), filename: `webpack-${target}.cjs` };
    tools.require('webpack')(
      { mode: 'production', context: app, entry, target, output, performance: { hints: false } },
      (error, stats) => {
        if (error || stats.hasErrors() || stats.hasWarnings()) reject(error ?? new Error(stats.toString()));
        else resolve(join(output.path, output.filename));
      },
    );
  });

test('webpack, for browsers and for Node, from import and from require', async () => {
  assert.equal(await node(await webpack(write('use.mjs', IMPORT), 'web')), SAID);
  assert.equal(await node(await webpack(write('use.cjs', REQUIRE), 'node')), SAID);
});

const vite = () => import(pathToFileURL(join(tools.folder, 'node_modules/vite/dist/node/index.js')));

test('Vite, for browsers and for rendering on a server', async () => {
  const { build } = await vite();
  for (const ssr of [false, true]) {
    const outDir = join(app, 'out', `vite-${ssr}`);
    const input = write('use.mjs', IMPORT);
    await build({
      root: app,
      configFile: false,
      logLevel: 'error',
      build: { outDir, ssr: ssr && input, rollupOptions: { input, output: { entryFileNames: 'use.mjs' } } },
    });
    assert.equal(await node(join(outDir, 'use.mjs')), SAID);
  }
});

test('Jest with its defaults', async () => {
  const text = `
    const { Greenroom, errors } = require('@greenroom/client');
    const { default: VoxeetSDK, session } = require('@greenroom/web-compat');
    const { bridge } = require('@greenroom/react-native-compat');
    test('loads', () => {
      expect(new Greenroom('https://sessions.example.com').session.state).toBe('disconnected');
      expect(new errors.TokenInvalidError('x')).toBeInstanceOf(errors.TokenError);
      expect(session).toBe(VoxeetSDK.session);
      expect(bridge.sdk).toBeUndefined();
    });
  `;
  write('jest/client.test.js', text);
  const flags = ['--rootDir', join(app, 'jest'), '--no-cache', '--watchman=false', '--runInBand'];
  const { stderr } = await run(process.execPath, [join(tools.folder, 'node_modules/jest/bin/jest.js'), ...flags], {
    cwd: app,
  });
  assert.match(stderr, /1 passed, 1 total/);
});

test('the React example builds with Vite', async () => {
  cpSync(new URL('../../examples/react', import.meta.url), join(app, 'example'), { recursive: true });
  for (const name of ['react', 'react-dom', 'scheduler']) addPackage(app, name);
  const { build } = await vite();
  await build({ root: join(app, 'example'), logLevel: 'error', build: { outDir: 'out' } });
  assert.match(readFileSync(join(app, 'example/out/index.html'), 'utf8'), /<script type="module" crossorigin src="/);
});

/** A Next.js app in a folder of its own, as its project has it: the packages, React and Next come from above. */
const NEXT = {
  'package.json': '{ "private": true }',
  'app/layout.jsx': `export default function Layout({ children }) {
    return <html lang="en"><body>{children}</body></html>;
  }`,
  // A server component: the client itself, and one component of the browser.
  'app/page.jsx': `import { Greenroom, GreenroomError, errors } from '@greenroom/client';
    import { Room } from './room.jsx';
    export const dynamic = 'force-dynamic';
    export default function Page() {
      const sdk = new Greenroom('https://sessions.example.com');
      let name;
      try {
        sdk.initializeToken('no token');
      } catch (error) {
        if (error instanceof errors.GreenroomError && error instanceof GreenroomError) name = error.name;
      }
      return <main><p>{sdk.session.state + ' ' + name}</p><Room user="Anna" /></main>;
    }`,
  'app/room.jsx': `'use client';
    import { GreenroomProvider, useParticipants, usePresence, useSession } from '@greenroom/react';
    const Me = ({ user }) => {
      const { state, participant } = useSession();
      const { participants } = useParticipants({ externalIds: ['ben'] });
      return <p>{[user, state, participant?.id ?? 'nobody', participants.length, usePresence('ben') ?? 'unknown'].join(' ')}</p>;
    };
    export const Room = ({ user }) => (
      <GreenroomProvider url="https://sessions.example.com" refresh={async () => 'no token'} info={{ name: user }}>
        <Me user={user} />
      </GreenroomProvider>
    );`,
  // A page of the older router: packages are loaded with require.
  'pages/old.jsx': `import { Greenroom } from '@greenroom/client';
    import { Room } from '../app/room.jsx';
    export const getServerSideProps = () => ({
      props: { state: new Greenroom('https://sessions.example.com').session.state },
    });
    export default function Old({ state }) { return <main><p>{state}</p><Room user="Ben" /></main>; }`,
  // Serves one request for each path, from itself, and prints what is in the paragraphs.
  'serve.cjs': `const { createServer } = require('node:http');
    const next = require('next')({ dev: false, dir: __dirname });
    next.prepare().then(() => {
      const handle = next.getRequestHandler();
      const server = createServer((request, response) => handle(request, response));
      server.listen(0, '127.0.0.1', async () => {
        for (const path of ['/', '/old']) {
          const reply = await fetch('http://127.0.0.1:' + server.address().port + path);
          const said = [...(await reply.text()).matchAll(/<p>(.*?)<\\/p>/g)].map(([, text]) => text);
          console.log(reply.status, path, said.join(' | '));
        }
        process.exit();
      });
    });`,
};

// Next.js builds with Turbopack unless it is told otherwise; `make soak` tells it.
for (const bundler of process.env.GREENROOM_SOAK === '1' ? ['turbopack', 'webpack'] : ['turbopack'])
  test(`Next.js renders on its server what ${bundler} built`, { timeout: 600_000 }, async (t) => {
    // Not below `app`, which has a copy of React of its own.
    const root = mkdtempSync(join(tools.folder, `app-${bundler}-`));
    t.after(() => rmSync(root, { recursive: true, force: true }));
    for (const [name, text] of Object.entries(NEXT)) write(join(root, name), text);
    const settings = { turbopack: { root: tools.folder }, outputFileTracingRoot: tools.folder };
    write(join(root, 'next.config.mjs'), `export default ${JSON.stringify(settings)};`);
    cpSync(join(app, 'node_modules/@greenroom'), join(root, 'node_modules/@greenroom'), { recursive: true });
    const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' };
    const next = join(tools.folder, 'node_modules/next/dist/bin/next');
    await run(process.execPath, [next, 'build', `--${bundler}`], { cwd: root, env, timeout: 400_000 });
    const { stdout } = await run(process.execPath, ['serve.cjs'], { cwd: root, env, timeout: 100_000 });
    assert.deepEqual(stdout.match(/^\d{3} .*/gm), [
      `200 / ${SAID} | Anna disconnected nobody 0 unknown`,
      '200 /old disconnected | Ben disconnected nobody 0 unknown',
    ]);
  });

const REACT_NATIVE = `module.exports = {
  NativeModules: {}, UIManager: {}, LogBox: { ignoreLogs() {} }, StyleSheet: { create: (one) => one },
  Platform: { OS: 'android', select: (one) => one.android }, requireNativeComponent: (name) => name,
  NativeEventEmitter: class { constructor() { throw new Error('the app has no native side'); } },
  View: 'View', Text: 'Text', AppState: { addEventListener: () => ({ remove() {} }) },
};`;

/** What Metro makes of an app, as React Native's own configuration has it. It prints with `print`. */
const metro = async (name, text) => {
  write('node_modules/react-native/index.js', REACT_NATIVE);
  const entry = write(name, text);
  write(
    'metro.config.js',
    `const { getDefaultConfig } = require('@react-native/metro-config');
    const { withGreenroom } = require('@greenroom/react-native-compat/metro');
    const config = getDefaultConfig(__dirname);
    // React Native itself is not installed, and so not its own start.
    config.serializer.getModulesRunBeforeMainModule = () => [];
    module.exports = withGreenroom({ ...config, maxWorkers: 1, watchFolders: [${JSON.stringify(tools.folder)}],
      cacheStores: [], reporter: { update() {} }, resolver: { ...config.resolver, useWatchman: false } });`,
  );
  write('babel.config.js', "module.exports = { presets: ['@react-native/babel-preset'] };");
  const out = join(app, 'out', name);
  write(
    'metro.cjs',
    `const metro = require('metro');
    const [config, entry, out] = ${JSON.stringify([join(app, 'metro.config.js'), entry, out])};
    metro.loadConfig({ config })
      .then((all) => metro.runBuild(all, { entry, out, platform: 'android', dev: false, minify: false }))
      .then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });`,
  );
  mkdirSync(join(app, 'out'), { recursive: true });
  await run(process.execPath, ['metro.cjs'], { cwd: app });
  const start = 'globalThis.print = console.log; console.log = () => {};\n';
  writeFileSync(`${out}.cjs`, start + readFileSync(out, 'utf8'));
  return `${out}.cjs`;
};

test('Metro builds the app of the React Native tutorial', async () => {
  for (const name of ['react', 'react-dom', 'scheduler']) addPackage(app, name);
  const page = readFileSync(new URL('../../docs/tutorials/react-native.md', import.meta.url), 'utf8');
  write('App.jsx', /^```jsx\n([^]*?)^```/m.exec(page)[1]);
  const text = `import { createElement } from 'react';
    import { renderToString } from 'react-dom/server';
    import { App } from './App.jsx';
    print(renderToString(createElement(App)));
    process.exit(); // React's server leaves a channel open`;
  const said = await node(await metro('tutorial.js', text));
  assert.match(said, /<View><Text>Anna is disconnected<\/Text><\/View>/);
});

test("Metro builds an app of the platform's React Native SDK, with one client in it", async () => {
  for (const name of ['@dolbyio/comms-sdk-react-native', 'react']) addPackage(app, name);
  const claims = { app: 'a', sub: 'ada', xid: 'ada', iat: 1_700_000_000, exp: 4_000_000_000 };
  const token = `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`;
  const text = `import { bridge, configure } from '@greenroom/react-native-compat';
    import { Greenroom } from '@greenroom/client';
    import CommsAPI from '@dolbyio/comms-sdk-react-native';
    configure({ url: 'https://sessions.example.com' });
    const run = async () => {
      await CommsAPI.initializeToken('${token}', async () => '${token}');
      const code = await CommsAPI.conference.isMuted().catch((error) => error.code);
      print(bridge.sdk instanceof Greenroom, await CommsAPI.session.isOpen(), code);
    };
    run();`;
  assert.equal(await node(await metro('platform.js', text)), 'true false notAvailable');
});

// -- types

const libraries = new Map(); // read once: they are large

const problems = (file, given) => {
  const options = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    skipLibCheck: false,
    skipDefaultLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    types: [],
    ...given,
  };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile;
  host.getSourceFile = (name, ...rest) => {
    if (!/\/typescript\/lib\//.test(name)) return read(name, ...rest);
    if (!libraries.has(name)) libraries.set(name, read(name, ...rest));
    return libraries.get(name);
  };
  const program = ts.createProgram([file], options, host);
  return ts.getPreEmitDiagnostics(program).map(({ code, file: where, messageText }) => {
    const text = ts.flattenDiagnosticMessageText(messageText, '\n');
    return `${where?.fileName}: TS${code} ${text}`;
  });
};

test('TypeScript: node16 from ES modules and from CommonJS, bundlers, and the old node resolution', () => {
  addPackage(app, '@types/react');
  addPackage(app, 'csstype');
  const text = `
    import { Greenroom, errors, type Participant } from '@greenroom/client';
    import { GreenroomProvider, useParticipants, usePresence, useSession, type SessionHandle } from '@greenroom/react';
    import { configure as configureBridge } from '@greenroom/react-native-compat';
    import VoxeetSDK, { conference, session, type Participant as PlatformParticipant } from '@greenroom/web-compat';
    const sdk = new Greenroom('https://sessions.example.com');
    export const open = (): Promise<Participant> => sdk.session.open({ name: 'Anna' });
    export const isInvalid = (error: unknown) => error instanceof errors.TokenInvalidError;
    configureBridge({ url: 'https://sessions.example.com' });
    VoxeetSDK.initialize('key', 'secret').catch(console.error);
    export const isOpen: boolean = session.isOpen();
    export const me: PlatformParticipant | null = VoxeetSDK.session.participant;
    conference.create({ alias: 'x' });
    export const App = () => {
      const handle: SessionHandle = useSession();
      const names = useParticipants({ externalIds: ['ben'] }).participants.map(({ info }) => info.name);
      return GreenroomProvider({ url: 'https://x', children: [handle.state, usePresence('p') ?? '', ...names] });
    };
    // @ts-expect-error one of url and sdk
    GreenroomProvider({});
    // @ts-expect-error misspelt
    sdk.session.open({ Name: 'Anna' });
  `;
  const { ModuleKind, ModuleResolutionKind } = ts;
  const node16 = { module: ModuleKind.Node16, moduleResolution: ModuleResolutionKind.Node16 };
  const modules = { module: ModuleKind.ESNext };
  for (const [name, options] of [
    ['node16.mts', node16],
    ['node16.cts', node16],
    ['bundler.ts', { ...modules, moduleResolution: ModuleResolutionKind.Bundler }],
    ['native.ts', { ...modules, moduleResolution: ModuleResolutionKind.Bundler, customConditions: ['react-native'] }],
    ['node10.ts', { module: ModuleKind.CommonJS, moduleResolution: ModuleResolutionKind.Node10, esModuleInterop: true }],
  ])
    assert.deepEqual(problems(write(name, text), options), [], name);
});

test("web-compat has every service, method and property of the platform's Web SDK", async () => {
  const folder = join(dirname(tools.require.resolve('@voxeet/voxeet-web-sdk/package.json')), 'types');
  const read = (name) => readFileSync(join(folder, name), 'utf8');
  /** Public members of the class, except those of event emitters. */
  const members = (file, name) => {
    const source = ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest);
    const owner = source.statements.find((one) => one.name?.text === name);
    assert.ok(owner, `${name} in ${file}`);
    return owner.members
      .filter(({ name: own, modifiers = [], kind }) => {
        const hidden = modifiers.some(({ kind: one }) =>
          [ts.SyntaxKind.PrivateKeyword, ts.SyntaxKind.ProtectedKeyword].includes(one),
        );
        return own && !hidden && own.kind !== ts.SyntaxKind.PrivateIdentifier && kind !== ts.SyntaxKind.SetAccessor;
      })
      .map(({ name: own, kind }) => [own.text, kind]);
  };
  const { default: VoxeetSDK } = await import(pathToFileURL(join(app, 'node_modules/@greenroom/web-compat/dist/index.js')));
  // Of the platform's own workings, and no part of its reference.
  const internal = /^(customer|refreshAccessToken$|manager$|on(AutoplayBlocked|StreamAdded)$|.*Internal$)/;
  const missing = [];
  let seen = 0;
  const compare = (found, object, where) => {
    for (const [name] of found) {
      seen += 1;
      if (!(name in object) && !internal.test(name)) missing.push(`${where}.${name}`);
    }
  };
  const top = members('VoxeetSDK.d.ts', 'VoxeetSDK').filter(([name]) => !/[hH]ost$|^(enableTelemetry|flavor|userId|instance)$/.test(name));
  compare(top, VoxeetSDK, 'VoxeetSDK');
  for (const [name, kind] of top) {
    const type = `${name[0].toUpperCase()}${name.slice(1)}`;
    const place = { broadcasting: 'broadcast' }[name] ?? name.toLowerCase();
    if (kind !== ts.SyntaxKind.GetAccessor || !VoxeetSDK[name]?.on) continue;
    compare(members(`services/${place}/${type}Service.d.ts`, `${type}Service`), VoxeetSDK[name], name);
  }
  compare(members('models/LocalAudio.d.ts', 'LocalAudio'), VoxeetSDK.audio.local, 'audio.local');
  compare(members('services/audio/RemoteAudio.d.ts', 'RemoteAudio'), VoxeetSDK.audio.remote, 'audio.remote');
  compare(members('models/LocalVideo.d.ts', 'LocalVideo'), VoxeetSDK.video.local, 'video.local');
  compare(members('models/RemoteVideo.d.ts', 'RemoteVideo'), VoxeetSDK.video.remote, 'video.remote');
  assert.deepEqual(missing, []);
  assert.ok(seen > 100, `${seen} members`);
});
