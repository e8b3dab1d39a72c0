/** @greenroom/react with React 18 and 19, in a page of jsdom, against a service in this process. */
import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { JSDOM, VirtualConsole } from 'jsdom';
import { FakeService, token } from './support/service.mjs';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'greenroom-react-'));

// React looks for a page as it is loaded.
const { window } = new JSDOM('<!doctype html>', { url: 'http://app.example/', virtualConsole: new VirtualConsole() });
const { document, navigator, sessionStorage, AbortController, MutationObserver } = window;
const page = { window, document, navigator, sessionStorage, AbortController, MutationObserver };
page.addEventListener = window.addEventListener.bind(window);
for (const [name, value] of Object.entries(page))
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });

// A busy machine lets this process stand still for seconds. They are no seconds of the SDK's timeouts: between two looks
// at the clock at most 20 ms pass.
const clock = globalThis.performance;
let [now, looked] = [0, clock.now()];
const look = () => {
  const at = clock.now();
  now += Math.min(at - looked, 20);
  looked = at;
  return now;
};
Object.defineProperty(globalThis, 'performance', { value: { now: look }, configurable: true, writable: true });

const VERSIONS = { 18: { react: 'react18', 'react-dom': 'react-dom18' }, 19: {} };

for (const [version, alias] of Object.entries(VERSIONS)) {
  const outfile = join(folder, `react-${version}.cjs`);
  await build({
    absWorkingDir: path('..'),
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
rmSync(folder, { recursive: true });

const text = (name) => readFileSync(path(name), 'utf8');
const blocks = (page) => [...text(`../../docs/${page}`).matchAll(/^```jsx\n([^]*?)^```/gm)].map(([, block]) => block);

test('the tutorial shows the example as it is', () => {
  const example = text('../../examples/react/src/App.jsx');
  const shown = blocks('tutorials/react.md');
  assert.equal(shown.length, 4);
  for (const block of shown) assert.ok(example.includes(block.trim()), block);
});

test('the example of the tutorial runs: two people see each other', async (context) => {
  const result = await build({
    entryPoints: [path('../../examples/react/src/main.jsx')],
    bundle: true,
    write: false,
    jsx: 'automatic',
    nodePaths: [path('../node_modules')],
    alias: { '@greenroom/react': path('../react/index.js'), '@greenroom/client': path('../src/index.js') },
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  const service = new FakeService();
  globalThis.WebSocket = service.WebSocket;
  globalThis.fetch = async (_, { body }) => Response.json({ token: token(JSON.parse(body).externalId) });
  const root = document.body.appendChild(document.createElement('div'));
  root.id = 'root';
  const shows = async (pattern) => {
    for (let waited = 0; !pattern.test(root.textContent); waited += 5) {
      assert.ok(waited < 5000, `${pattern} is not shown, but ${root.textContent}`);
      await sleep(5);
    }
  };
  const press = (label) => [...root.querySelectorAll('button')].find((one) => one.textContent === label)?.click();
  context.after(() => press('Leave')); // whatever failed: a session keeps the process alive
  (0, eval)(result.outputFiles[0].text);
  await shows(/I am anna/);
  press('I am anna');
  await shows(/anna is connected.*anna: online.*ben: offline.*chloe: offline/);
  service.person('ben', { name: 'Ben', presence: 'online' });
  await shows(/Ben: online/);
  press('!');
  await shows(/anna! is connected/);
  service.endAll('kicked');
  await shows(/It is over\./);
  press('Come back');
  await shows(/anna! is connected/);
  press('Leave');
  await shows(/I am anna/);
});

test('the reference names every export, prop, option and hook', () => {
  const page = text('../../docs/reference/packages.md').replace(/^```[^]*?^```/gm, '');
  const code = [...page.matchAll(/`([^`]+)`/g)].map(([, one]) => one).join('\n');
  for (const name of ['react', 'web-compat']) {
    const types = text(`../${name}/index.d.ts`);
    const exported = [...types.matchAll(/^export (?:declare )?(?:function|const|interface|type) (\w+)/gm)];
    assert.ok(exported.length > 8, name);
    const props = name === 'react' ? [...types.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)] : [];
    for (const [, one] of [...exported, ...props])
      assert.ok(one === 'children' || new RegExp(`\\b${one}\\b`).test(code), `${one} of ${name}`);
  }
});

test('both versions were tested', async () => {
  for (const [version, { react = 'react' }] of Object.entries(VERSIONS))
    assert.match((await import(react)).version, new RegExp(`^${version}\\.`));
});
