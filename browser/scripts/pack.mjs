/**
 * Builds all packages of this folder and packs each into FOLDER (`../dist` if left out), as npm would publish it:
 *
 *   node scripts/pack.mjs [FOLDER]
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAll, PACKAGES } from './build.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const npm = join(process.execPath, '..', 'npm');

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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = resolve(process.argv[2] ?? join(root, '../dist'));
  for (const { name, version, file } of await pack(folder)) console.log(`${name} ${version}: ${file}`);
}
