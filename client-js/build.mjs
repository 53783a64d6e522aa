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

const FULL = 'src/index.js';
const CORE = 'src/index.core.js';
const PRODUCTION = {
  name: 'production',
  setup: ({ onLoad }) => onLoad({ filter: /\/development\.js$/ }, () => ({ contents: 'export const DEVELOPMENT = false;' })),
};

/** The kinds of files, and what esbuild makes them with. */
const MODULE = { format: 'esm' };
const SCRIPT = { format: 'iife', globalName: 'Groupcast' };
// For Node: with the names of the exports, which `import` reads from the text.
const COMMON_JS = { format: 'cjs', platform: 'node' };

/** What is in each file. */
const OUTPUTS = {
  'dist/groupcast.js': { entry: FULL, production: true, ...MODULE },
  'dist/groupcast.development.js': { entry: FULL, ...MODULE },
  'dist/groupcast.cjs': { entry: FULL, ...COMMON_JS },
  'dist/groupcast.global.js': { entry: FULL, production: true, ...SCRIPT },
  'dist/groupcast.global.development.js': { entry: FULL, ...SCRIPT },
  'dist/groupcast.core.js': { entry: CORE, production: true, ...MODULE },
  'dist/groupcast.core.development.js': { entry: CORE, ...MODULE },
  'dist/groupcast.core.cjs': { entry: CORE, ...COMMON_JS },
  // The element that Django's template tag writes; it takes the client from the file beside it.
  'dist/progress.js': { entry: 'elements/progress.js', production: true, external: ['./groupcast.js'], mangleProps: undefined, ...MODULE },
};

// Members that no application sees. Theirs are the longest names that are left after minifying.
const INTERNAL = [
  'accept', 'accepted', 'all', 'announced', 'answered', 'ask', 'asked', 'awaited', 'before', 'begin',
  'byServer', 'bytes', 'callback', 'cancel', 'changed', 'check', 'connectSoon', 'controller', 'core',
  'current', 'deliver', 'disconnected', 'drain', 'due', 'emit', 'end', 'ended', 'fail', 'flush', 'forget', 'frame',
  'fulfil', 'gate', 'guard', 'handles', 'held', 'hello', 'hold', 'idleSince', 'joined', 'known', 'largest',
  'left', 'link', 'listeners', 'live', 'loops', 'members', 'membership', 'mostOpen', 'moved', 'nextId',
  'notify', 'pacer', 'patience', 'pause', 'present', 'printOnce', 'probe', 'promise', 'received', 'refuse', 'refused',
  'rejected', 'remove', 'renew', 'renewIn', 'reopen', 'repeatable', 'replayedTo', 'report', 'request',
  'requests', 'resume', 'retryMs', 'run', 'sentSince', 'session', 'signedOut', 'spend', 'stop', 'suspend',
  'timer', 'tried', 'view', 'wake', 'wanted', 'wantedSince', 'welcome', 'welcomeNew', 'welcomed',
];

async function bundle({ entry, production, ...options }) {
  const { outputFiles } = await build({
    entryPoints: [at(entry)],
    plugins: production ? [PRODUCTION] : [],
    bundle: true,
    minify: true,
    mangleProps: new RegExp(`^(${INTERNAL.join('|')})$`),
    target: 'es2022',
    write: false,
    ...options,
  });
  const [{ text: minified }] = outputFiles;
  const text = options.format === 'cjs' ? minified : await smaller(minified, options);
  return `${BANNER}\n${text.trimEnd()}\n`;
}

/**
 * Terser takes another 7 %, of what browsers load. A third pass makes it larger, and so do the
 * transformations that are switched off, once compressed.
 */
async function smaller(text, { format }) {
  const compress = {
    passes: 2,
    keep_fargs: false,
    pure_getters: true,
    // Among them `String(x)` as `x + ''`, for which symbols have a `TypeError`.
    unsafe: true,
    unsafe_arrows: true,
    unsafe_methods: true,
    comparisons: false,
    lhs_constants: false,
    sequences: false,
  };
  const { code } = await minify(text, { module: format === 'esm', ecma: 2020, compress });
  return code;
}

/** What the gateway serves, which is also compressed here and has an address with its hash. */
export const SERVED = [
  'groupcast.js', 'groupcast.global.js', 'groupcast.core.js',
  'groupcast.development.js', 'groupcast.global.development.js', 'groupcast.core.development.js', 'progress.js',
];

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
  for (const name of ['groupcast', 'groupcast.core']) {
    const types = await readFile(at(`dist/${name}.d.ts`), 'utf8');
    files[`dist/${name}.d.cts`] = types.replaceAll("'./groupcast.js'", "'./groupcast.cjs'");
  }
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
