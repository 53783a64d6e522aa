// The reference page of the client, docs/client-reference.md, from its types and their comments.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const PAGE = at('../docs/client-reference.md');
const COLUMNS = 100;

// What applications use first comes first.
const SECTIONS = [
  ['The client', ['GroupcastClient', 'ClientOptions', 'TokenRequest', 'TokenSource', 'ClientState', 'ClientEvents']],
  ['Groups', ['Group', 'JoinOptions', 'GroupState', 'Message', 'Position', 'GroupEvents', 'Joined', 'Gap', 'Left', 'GapNotice']],
  ['Requests and listeners', ['SendOptions', 'Sent', 'CallOptions', 'ListenOptions', 'OnceOptions', 'MessagesOptions']],
  ['Errors', ['GroupcastError', 'UnauthorizedError']],
  ["The application's own names", ['Schema', 'EventMap', 'AnySchema', 'MessageOf', 'Disposer']],
];

const DECLARATION = /((?:\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?)export (class|interface|type) (\w+)([^\n]*)\n?/g;

/** A comment's words, in one line. */
const words = (comment) => comment.replace(/^\s*\/\*\*|\*\/\s*$/g, '').replace(/\n\s*\*? ?/g, ' ').replace('@param url', 'The address:').trim();

/** Whether a signature goes on in the next line. */
const isOpen = (signature) => (signature.match(/[({]/g) ?? []).length > (signature.match(/[)}]/g) ?? []).length;

/** The members of a body: what each is and, from the comment before it, what it means. */
function members(body) {
  const found = [];
  let comment = '';
  let signature = '';
  for (const line of body.split('\n')) {
    const text = line.trim();
    const inComment = comment && !/\*\/\s*$/.test(comment);
    if (!signature && (inComment || text.startsWith('/**'))) {
      comment += inComment ? `\n${line}` : line;
      continue;
    }
    if (!text) continue;
    signature += `${signature ? ' ' : ''}${text}`;
    if (!text.endsWith(';') || isOpen(signature)) continue;
    found.push({ signature: signature.replace(/;$/, '').replace('( ', '(').replace(', )', ')'), meaning: words(comment) });
    comment = signature = '';
  }
  return found;
}

/** Every exported declaration of the types, by name; classes with an interface of the same name once. */
export function declarations(types) {
  const all = new Map();
  for (const { 0: text, 1: comment, 2: kind, 3: name, 4: rest, index } of types.matchAll(DECLARATION)) {
    const opens = rest.trimEnd().endsWith('{') && kind !== 'type';
    const from = index + text.length;
    const body = opens ? types.slice(from, types.indexOf('\n}', from)) : '';
    if (kind === 'interface' && !opens) continue;
    all.set(name, { kind, name, rest, meaning: words(comment), members: members(body) });
  }
  return all;
}

function wrapped(text) {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = `${lines.at(-1)} ${word}`.trim();
    if (line.length <= COLUMNS) lines[lines.length - 1] = line;
    else lines.push(word);
  }
  return lines.join('\n');
}

/** Code in a cell of a table, where a bar would end it. */
const cell = (text) => text.replaceAll('|', '\\|');

function described({ kind, name, rest, meaning, members: all }) {
  const lines = [`### ${name}`];
  const declared = `${kind === 'type' ? 'type' : kind} ${name}${rest.replace(/\s*\{\s*$/, '')}`;
  if (kind === 'type' || /[<]|extends/.test(rest)) lines.push('', '```ts', declared, '```');
  if (meaning) lines.push('', wrapped(meaning));
  if (all.length > 0) lines.push('', '| member | meaning |', '|---|---|');
  for (const { signature, meaning: said } of all) lines.push(`| \`${cell(signature)}\` | ${cell(said)} |`);
  return lines.join('\n');
}

/** The page for these types; throws where a declaration has no place in it, or a place no declaration. */
export function page(types) {
  const all = declarations(types);
  const placed = SECTIONS.flatMap(([, names]) => names);
  const strange = [...all.keys()].filter((name) => !placed.includes(name));
  if (strange.length > 0) throw new Error(`no section of the reference has ${strange.join(', ')}`);
  const parts = ['# Reference of the client', 'Made from `client-js/dist/groupcast.d.ts` by `npm run build`: change it there.\nThe guide is [`client.md`](client.md).'];
  for (const [title, names] of SECTIONS) {
    parts.push(`## ${title}`);
    for (const name of names) {
      if (!all.has(name)) throw new Error(`the types have no ${name}`);
      parts.push(described(all.get(name)));
    }
  }
  return `${parts.join('\n\n')}\n`;
}

export const current = () => page(readFileSync(at('dist/groupcast.d.ts'), 'utf8'));
export const written = () => readFileSync(PAGE, 'utf8');

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(PAGE, current());
  console.log('docs/client-reference.md');
}
