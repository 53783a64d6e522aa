export { GroupcastClient } from './client.js';
export { GroupcastError, UnauthorizedError } from './errors.js';
