/**
 * Builds the `dist` of every package in this folder, and the copy of the client that the Python package serves at
 * /sdk/greenroom.js. `--check` writes nothing and fails where what is committed is not what would be built.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { minify } from 'terser';
import { shortNames } from './names.mjs';

const root = new URL('..', import.meta.url);
const source = new URL('src/', root);
const path = (name) => fileURLToPath(new URL(name, root));
const { version } = JSON.parse(readFileSync(path('package.json'), 'utf8'));

// Each is safe for this source: no function's arity is asked, no getter has effects.
const COMPRESS = { passes: 4, unsafe_arrows: true, unsafe_methods: true, pure_getters: true, keep_fargs: false };

/** The client inside: shortened. Short names of private members hold for all that is in the bundle. */
const withClient = () => ({
  minify: true,
  mangleProps: /^_/,
  mangleCache: shortNames(source),
  alias: { '@greenroom/client': path('src/index.js') },
});

const text = async (entry, options) => {
  const result = await build({
    entryPoints: [path(entry)],
    bundle: true,
    write: false,
    target: 'es2022',
    platform: options.format === 'cjs' ? 'node' : 'browser', // node: with the names of exports, for `import`
    define: { VERSION: JSON.stringify(version) },
    logLevel: 'warning',
    ...options,
  });
  return result.outputFiles[0].text;
};

/** The client's module, or an IIFE with it inside: terser gains 2 % on what esbuild leaves. */
export const bundle = async (entry = 'src/index.js', format = 'esm') => {
  const { code } = await minify(await text(entry, { format, ...withClient() }), {
    module: format === 'esm',
    ecma: 2020,
    compress: COMPRESS,
    mangle: { toplevel: true },
  });
  return code + '\n';
};

/** For a bundler or Node: readable, with what the app has anyway left outside. */
const part = (entry, format, options) =>
  text(entry, { format, external: ['@greenroom/client', 'react', 'react-native'], ...options });

const USE_CLIENT = { js: "'use client';" }; // Next.js: a component of the browser

/** `require` gives VoxeetSDK itself, as the platform's package does. */
const ITSELF = {
  js: `module.exports = module.exports.default;
module.exports.default = module.exports.VoxeetSDK = module.exports;
Object.defineProperty(module.exports, '__esModule', { value: true });`,
};

/** The shim takes the bridge of the package's main module: an app has one. */
const oneBridge = {
  name: 'one bridge',
  setup: ({ onResolve }) => onResolve({ filter: /^\.\/index\.js$/ }, () => ({ path: './index.cjs', external: true })),
};

const declarations = (name) => readFileSync(path(name), 'utf8');

/** File of a package: how it is made. */
const FILES = {
  'dist/greenroom.js': () => bundle(),
  'dist/greenroom.cjs': () => text('src/index.js', { format: 'cjs', ...withClient() }),
  'dist/greenroom.d.ts': () => declarations('src/index.d.ts'),
  'dist/greenroom.d.cts': () => declarations('src/index.d.ts'),
  'react/dist/index.js': () => part('react/index.js', 'esm', { banner: USE_CLIENT }),
  'react/dist/index.cjs': () => part('react/index.js', 'cjs', { banner: USE_CLIENT }),
  'react/dist/index.d.ts': () => declarations('react/index.d.ts'),
  'react/dist/index.d.cts': () => declarations('react/index.d.ts'),
  // One file for import and require: an app has one bridge.
  'react-native-compat/dist/index.cjs': () => part('react-native-compat/index.js', 'cjs'),
  'react-native-compat/dist/index.d.cts': () => declarations('react-native-compat/index.d.ts'),
  'react-native-compat/dist/react-native.cjs': () =>
    part('react-native-compat/react-native.cjs', 'cjs', { plugins: [oneBridge] }),
  'web-compat/dist/index.js': () => part('web-compat/index.js', 'esm'),
  'web-compat/dist/index.cjs': () => part('web-compat/index.js', 'cjs', { footer: ITSELF }),
  'web-compat/dist/index.d.ts': () => declarations('web-compat/index.d.ts'),
  'web-compat/dist/index.d.cts': () => declarations('web-compat/index.d.ts'),
  'web-compat/dist/voxeet-sdk.js': () => bundle('web-compat/global.js', 'iife'),
};

/** The folders of the packages. */
export const PACKAGES = ['.', 'react', 'react-native-compat', 'web-compat'];

/** Where the client's module is put besides; this copy is committed. */
export const PACKAGED = '../src/greenroom/server/http/static_files/greenroom.js';

/** Writes every package's dist and licence. */
export const buildAll = async () => {
  const made = await Promise.all(Object.entries(FILES).map(async ([name, make]) => [name, await make()]));
  for (const [name, content] of made) {
    mkdirSync(new URL('.', new URL(name, root)), { recursive: true });
    writeFileSync(path(name), content);
  }
  for (const folder of PACKAGES) copyFileSync(path('../LICENSE'), path(`${folder}/LICENSE`));
  return made.map(([name, content]) => `${name}: ${content.length} bytes`);
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--check')) {
    if (readFileSync(path(PACKAGED), 'utf8') !== (await bundle())) {
      console.error('src/greenroom/server/http/static_files/greenroom.js is out of date: npm run build in browser/');
      process.exit(1);
    }
  } else {
    console.log((await buildAll()).join('\n'));
    copyFileSync(path('dist/greenroom.js'), path(PACKAGED));
  }
}
