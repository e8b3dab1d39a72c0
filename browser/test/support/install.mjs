/** The packages as npm would publish them, installed into an app beside the tools that people build apps with. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pack } from '../../scripts/pack.mjs';

export const run = promisify(execFile);
const browser = fileURLToPath(new URL('../..', import.meta.url));
const npm = join(process.execPath, '..', 'npm');
const PINS = ['package.json', 'package-lock.json', '.npmrc'];

/** Where the tools of test/tools are installed: once for these pins, and `require` from there. */
export const installTools = async () => {
  const from = (name) => join(browser, 'test/tools', name);
  const hash = createHash('sha256');
  for (const name of PINS) hash.update(readFileSync(from(name)));
  const folder = join(browser, '../build/browser', `tools-${hash.digest('hex').slice(0, 16)}`);
  const done = join(folder, '.done');
  if (!existsSync(done)) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const name of PINS) copyFileSync(from(name), join(folder, name));
    await run(npm, ['ci', '--ignore-scripts', '--prefer-offline'], { cwd: folder });
    writeFileSync(done, '');
  }
  return { folder, require: createRequire(join(folder, 'index.js')) };
};

/** An app inside the tools' folder, with the packages installed as from a registry: `packed` says what each holds. */
export const makeApp = async (tools) => {
  const app = mkdtempSync(join(tools, 'app-'));
  const packed = await pack(join(app, 'packed'));
  writeFileSync(join(app, 'package.json'), JSON.stringify({ private: true }));
  // Offline: what they depend on they bring along, or have as peers.
  const flags = ['--offline', '--legacy-peer-deps', '--no-package-lock', '--ignore-scripts'];
  await run(npm, ['install', ...flags, ...packed.map(({ file }) => file)], { cwd: app });
  return { app, packed };
};

/** A package that the app would have, from this folder's own node_modules. */
export const addPackage = (app, name) =>
  cpSync(join(browser, 'node_modules', name), join(app, 'node_modules', name), { recursive: true });
