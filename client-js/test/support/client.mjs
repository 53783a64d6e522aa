// The client under test: the source, or with CLIENT_BUILD one of the files of dist.

const { CLIENT_BUILD } = process.env;
const path = CLIENT_BUILD ? `../../dist/${CLIENT_BUILD}` : '../../src/index.js';

export const { GroupcastClient, GroupcastError, UnauthorizedError } = await import(path);
