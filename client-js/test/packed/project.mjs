// A project that has installed the packed client.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const CLIENT = fileURLToPath(new URL('../..', import.meta.url));

/** What the client is tried with, by its path in `node_modules`. */
export const tool = (path) => join(fileURLToPath(new URL('node_modules', import.meta.url)), path);

/**
 * @param {Record<string, string>} files texts by path
 * @returns {{folder: string, remove: () => void}}
 */
export function project(files) {
  const folder = mkdtempSync(join(tmpdir(), 'groupcast-packed-'));
  const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: CLIENT }));
  mkdirSync(join(folder, 'node_modules/groupcast'), { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, filename), '--strip-components=1', '-C', join(folder, 'node_modules/groupcast')]);
  for (const name of ['ws', '@vue']) symlinkSync(tool(name), join(folder, 'node_modules', name));
  for (const [name, text] of Object.entries({ 'package.json': '{"private": true}', ...files })) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
