// The frames of docs/protocol.schema.json as checks. Members that the schema doesn't list are a mistake
// of the sender's here, although receivers ignore them.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';

const schema = JSON.parse(
  readFileSync(new URL('../../../docs/protocol.schema.json', import.meta.url), 'utf8'),
);
const ajv = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true });
ajv.addSchema(schema);

export const definitions = schema.$defs;

export function assertFrame(frame) {
  const [name, definition] =
    Object.entries(definitions).find(([, { properties }]) => properties?.type?.const === frame.type) ?? [];
  assert.ok(definition, `frames of type ${frame.type} exist`);
  const validate = ajv.getSchema(`${schema.$id}#/$defs/${name}`);
  assert.ok(validate(frame), `${JSON.stringify(frame)}: ${ajv.errorsText(validate.errors)}`);
  for (const member of Object.keys(frame)) {
    assert.ok(member in definition.properties, `${frame.type} has a member ${member}`);
  }
}
