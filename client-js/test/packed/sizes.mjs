// The sizes of docs/client.md: every library imported whole, bundled and minified the same way.
// `node test/packed/sizes.mjs` writes the table anew.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { minify } from 'terser';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const PAGE = at('../../../docs/client.md');
const HEAD = '| library | esbuild | gzip | brotli | esbuild, Terser | gzip | brotli |\n|---|---:|---:|---:|---:|---:|---:|\n';

const ours = (name) => ['0.1.0', `export * from ${JSON.stringify(at(`../../dist/${name}.js`))}`];
const theirs = (name, what) => {
  const { version } = JSON.parse(readFileSync(at(`node_modules/${name}/package.json`), 'utf8'));
  return [version, `export { ${what} } from '${name}'`];
};
const libraries = () => ({
  'groupcast/core': ours('groupcast.core'),
  groupcast: ours('groupcast'),
  'groupcast, development build': ours('groupcast.development'),
  phoenix: theirs('phoenix', 'Socket, Presence'),
  'socket.io-client': theirs('socket.io-client', 'io'),
  'pusher-js': theirs('pusher-js', 'default'),
  centrifuge: theirs('centrifuge', 'Centrifuge'),
});

const lengths = (text) => [
  Buffer.byteLength(text), gzipSync(text, { level: 9 }).length, brotliCompressSync(text).length,
];

async function sizesOf(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: at('.') }, bundle: true, minify: true, format: 'esm', target: 'es2022', write: false,
  });
  const [{ text }] = outputFiles;
  const { code } = await minify(text, { module: true, ecma: 2020, compress: { passes: 2 } });
  return [...lengths(text), ...lengths(code)];
}

/** @returns {Promise<Array<[string, number[]]>>} name with version, and the six columns */
export async function measured() {
  const rows = [];
  for (const [name, [version, contents]] of Object.entries(libraries())) {
    rows.push([`${name} ${version}`, await sizesOf(contents)]);
  }
  return rows;
}

/** The rows of the page, in the same form. */
export function documented() {
  const [, table] = readFileSync(PAGE, 'utf8').split(HEAD);
  return table.split('\n\n')[0].split('\n').map((line) => {
    const [name, ...sizes] = line.slice(2, -2).split(' | ');
    return [name, sizes.map((size) => Number(size.replaceAll(',', '')))];
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const rows = (await measured()).map(([name, sizes]) => (
    `| ${[name, ...sizes.map((size) => size.toLocaleString('en'))].join(' | ')} |`
  ));
  const [before, after] = readFileSync(PAGE, 'utf8').split(HEAD);
  writeFileSync(PAGE, `${before}${HEAD}${rows.join('\n')}${after.slice(after.indexOf('\n\n'))}`);
  console.log(rows.join('\n'));
}
