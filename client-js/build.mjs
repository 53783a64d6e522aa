// Bundles src into the one file that the gateway embeds and serves, committed because whoever builds
// the gateway has no Node. Minified: comments and names are two thirds of it, and src is at hand.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export const OUTPUT = fileURLToPath(new URL('dist/groupcast.js', import.meta.url));

export async function bundle(options = {}) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('src/index.js', import.meta.url))],
    bundle: true,
    format: 'esm',
    minify: true,
    // Short lines, so that a change shows in a diff.
    lineLimit: 160,
    target: 'es2022',
    write: false,
    banner: { js: '// Groupcast client 0.1.0, MIT OR Apache-2.0. Built from client-js/src; do not edit.' },
    outfile: OUTPUT,
    ...options,
  });
  return outputFiles[0].text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { writeFile } = await import('node:fs/promises');
  await writeFile(OUTPUT, await bundle());
  console.log(`${OUTPUT}: ${(await readFile(OUTPUT)).length} bytes`);
}
