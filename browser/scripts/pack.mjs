/**
 * Builds all packages of this folder and packs each into FOLDER (`../dist` if left out), as npm would publish it:
 *
 *   node scripts/pack.mjs [FOLDER]
 *   node scripts/pack.mjs --served      to where the service serves them from, without the version in their names
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAll, PACKAGES } from './build.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const npm = join(process.execPath, '..', 'npm');

const SERVED = join(root, '../src/greenroom/server/http/static_files');

/** For each package {name, version, file, files}: `file` is the tarball, `files` what is in it. */
export const pack = async (folder) => {
  await buildAll();
  mkdirSync(folder, { recursive: true });
  const command = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const printed = execFileSync(npm, [...command, ...PACKAGES.map((one) => join(root, one))], { cwd: root });
  return JSON.parse(printed).map(({ name, version, filename, files }) => ({
    name,
    version,
    file: join(folder, filename),
    files: files.map(({ path }) => path).sort(),
  }));
};

const packServed = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'greenroom-pack-'));
  try {
    const made = await pack(folder);
    for (const { name, file } of made) copyFileSync(file, join(SERVED, `${name.slice(1).replace('/', '-')}.tgz`));
  } finally {
    rmSync(folder, { recursive: true });
  }
};

if (process.argv[2] === '--served') {
  await packServed();
} else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = resolve(process.argv[2] ?? join(root, '../dist'));
  for (const { name, version, file } of await pack(folder)) console.log(`${name} ${version}: ${file}`);
}
