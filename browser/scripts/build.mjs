/**
 * Builds dist/greenroom.js (the package's one module), its types, and the copy that the Python package serves at
 * /sdk/greenroom.js. `--check` writes nothing and fails where what is committed is not what would be built.
 */
import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { minify } from 'terser';
import { shortNames } from './names.mjs';

const root = new URL('..', import.meta.url);
const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));

const source = new URL('src/', root);
// Each is safe for this source: no function's arity is asked, no getter has effects.
const COMPRESS = { passes: 4, unsafe_arrows: true, unsafe_methods: true, pure_getters: true, keep_fargs: false };

/** The text of the module: esbuild joins and shortens, terser gains another 2 %. */
export const bundle = async () => {
  const result = await build({
    entryPoints: [fileURLToPath(new URL('index.js', source))],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    mangleProps: /^_/,
    mangleCache: shortNames(source),
    define: { VERSION: JSON.stringify(version) },
  });
  const { code } = await minify(result.outputFiles[0].text, {
    module: true,
    ecma: 2020,
    compress: COMPRESS,
    mangle: { toplevel: true },
  });
  return code + '\n';
};

/** Where the module is put, relative to this package; the second is committed. */
export const PACKAGED = '../src/greenroom/server/http/static_files/greenroom.js';

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await bundle();
  if (process.argv.includes('--check')) {
    if (readFileSync(new URL(PACKAGED, root), 'utf8') !== text) {
      console.error('src/greenroom/server/http/static_files/greenroom.js is out of date: npm run build in browser/');
      process.exit(1);
    }
  } else {
    mkdirSync(new URL('dist/', root), { recursive: true });
    writeFileSync(new URL('dist/greenroom.js', root), text);
    writeFileSync(new URL('dist/greenroom.d.ts', root), readFileSync(new URL('src/index.d.ts', root)));
    writeFileSync(new URL(PACKAGED, root), text);
    console.log(`dist/greenroom.js: ${text.length} bytes`);
  }
}
