// Bundles src into the files of dist: what the gateway embeds and serves, and what npm installs. They
// are committed because whoever builds the gateway has no Node. Minified: comments and names are two
// thirds of it, and src is at hand.

import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { minify } from 'terser';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const VERSION = '0.1.0';
const BANNER = `// Groupcast client ${VERSION}, MIT OR Apache-2.0`;

/** File, and what esbuild makes it with. */
export const OUTPUTS = {
  'dist/groupcast.js': { format: 'esm' },
  // For Node: with the names of the exports, which `import` reads from the text.
  'dist/groupcast.cjs': { format: 'cjs', platform: 'node' },
  'dist/groupcast.global.js': { format: 'iife', globalName: 'Groupcast' },
  // The element that Django's template tag writes; it takes the client from the file beside it.
  'dist/progress.js': { format: 'esm', entryPoints: [at('elements/progress.js')], external: ['./groupcast.js'], mangleProps: undefined },
};
export const OUTPUT = at('dist/groupcast.js');

// Members that no application sees. Theirs are the longest names that are left after minifying.
const INTERNAL = [
  'accept', 'accepted', 'all', 'announced', 'answered', 'ask', 'asked', 'awaited', 'begin', 'byServer',
  'bytes', 'callback', 'cancel', 'changed', 'check', 'connectSoon', 'controller', 'core', 'current', 'deliver',
  'drain', 'due', 'emit', 'end', 'ended', 'fail', 'finishers', 'flush', 'forget', 'frame', 'gate', 'guard',
  'handles', 'held', 'hello', 'hold', 'idleSince', 'joined', 'known', 'largest', 'left', 'link', 'live',
  'members', 'membership', 'mostOpen', 'moved', 'nextId', 'notify', 'pacer', 'parked', 'pause', 'present',
  'probe', 'promise', 'received', 'refCount', 'refused', 'remove', 'renew', 'renewable', 'reopen',
  'repeatable', 'report', 'request', 'reset', 'resume', 'retryMs', 'run', 'sentSince', 'session', 'signedOut',
  'spend', 'stable', 'stop', 'suspend', 'suspended', 'timer', 'tried', 'view', 'wake', 'wanted',
  'wantedSince', 'welcome', 'welcomeNew', 'welcomed',
];

async function bundle(options) {
  const { outputFiles } = await build({
    entryPoints: [at('src/index.js')],
    bundle: true,
    minify: true,
    mangleProps: new RegExp(`^(${INTERNAL.join('|')})$`),
    target: 'es2022',
    write: false,
    ...options,
  });
  const text = await smaller(outputFiles[0].text, options);
  return `${BANNER}\n${text.trimEnd()}\n`;
}

/** Terser takes another 2 %, of what browsers load; Node's file would lose the names of its exports. */
async function smaller(text, { format }) {
  if (format === 'cjs') return text;
  const { code } = await minify(text, { module: format === 'esm', ecma: 2020, compress: { passes: 3 } });
  return code;
}

/** What the gateway serves, which is also compressed here and has an address with its hash. */
export const SERVED = ['groupcast.js', 'groupcast.global.js', 'progress.js'];

function listed(name, text) {
  const hash = createHash('sha384').update(text).digest();
  const [stem, ...suffix] = name.split('.');
  const url = `/client/v1/${[stem, hash.toString('hex').slice(0, 12), ...suffix].join('.')}`;
  return { name, url, integrity: `sha384-${hash.toString('base64')}` };
}

/** What dist holds, by path. CommonJS has types of its own: TypeScript takes them for the module's. */
export async function contents() {
  const files = {};
  for (const [path, options] of Object.entries(OUTPUTS)) files[path] = await bundle(options);
  files['dist/groupcast.d.cts'] = await readFile(at('dist/groupcast.d.ts'), 'utf8');
  const manifest = { version: VERSION, files: SERVED.map((name) => listed(name, files[`dist/${name}`])) };
  files['dist/manifest.json'] = `${JSON.stringify(manifest, null, 2)}\n`;
  return files;
}

const brotli = (text) => brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: text.length } });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of Object.entries(await contents())) {
    await writeFile(at(path), text);
    console.log(`${path}: ${Buffer.byteLength(text)} bytes`);
    if (!SERVED.some((name) => path === `dist/${name}`)) continue;
    await writeFile(at(`${path}.gz`), gzipSync(text, { level: 9 }));
    await writeFile(at(`${path}.br`), brotli(text));
  }
}
