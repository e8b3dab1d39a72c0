/**
 * Builds dist/greenroom.js (the package's one module), its types, and the copy that the Python package serves at
 * /sdk/greenroom.js. `--check` writes nothing and fails where what is committed is not what would be built.
 */
import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url);
const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));

export const bundle = async () => {
  const result = await build({
    entryPoints: [fileURLToPath(new URL('src/index.js', root))],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    legalComments: 'none',
    mangleProps: /^_/,
    define: { VERSION: JSON.stringify(version) },
    banner: { js: `/*! @greenroom/client ${version} | Apache-2.0 */` },
  });
  return result.outputFiles[0].text;
};

/** Where the module is put, relative to this package; the second is committed. */
export const PACKAGED = '../src/greenroom/server/static_files/greenroom.js';

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await bundle();
  if (process.argv.includes('--check')) {
    if (readFileSync(new URL(PACKAGED, root), 'utf8') !== text) {
      console.error('src/greenroom/server/static_files/greenroom.js is out of date: npm run build in browser/');
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
