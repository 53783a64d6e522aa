// `groupcast/core`: the client without loops over groups.

export { GroupcastClient } from './client.js';
export { GroupcastError, UnauthorizedError } from './errors.js';
