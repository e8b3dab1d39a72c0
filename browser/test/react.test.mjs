/** @greenroom/react with React 18 and 19, in a page of jsdom, against a service in this process. */
import { strict as assert } from 'node:assert';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { JSDOM, VirtualConsole } from 'jsdom';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const folder = path('../../build/browser');

// React looks for a page as it is loaded.
const { window } = new JSDOM('<!doctype html>', { url: 'http://app.example/', virtualConsole: new VirtualConsole() });
const { document, navigator, sessionStorage, AbortController } = window;
const page = { window, document, navigator, sessionStorage, AbortController };
page.addEventListener = window.addEventListener.bind(window);
for (const [name, value] of Object.entries(page))
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });

const VERSIONS = { 18: { react: 'react18', 'react-dom': 'react-dom18' }, 19: {} };

for (const [version, alias] of Object.entries(VERSIONS)) {
  mkdirSync(folder, { recursive: true });
  const outfile = `${folder}/react-${version}.cjs`;
  await build({
    entryPoints: [path('../react/cases.mjs')],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    outfile,
    alias: { ...alias, '@greenroom/client': path('../src/index.js') },
    logLevel: 'error',
  });
  await import(pathToFileURL(outfile));
}

test('both versions were tested', async () => {
  for (const [version, { react = 'react' }] of Object.entries(VERSIONS))
    assert.match((await import(react)).version, new RegExp(`^${version}\\.`));
});
