// `groupcast`: the whole client.

import { GroupcastClient as CoreClient } from './client.js';
import { loops } from './loops.js';

export { GroupcastError, UnauthorizedError } from './errors.js';

/** The client of `groupcast/core` whose groups can also be read by `for await` and `once`. */
export class GroupcastClient extends CoreClient {
  constructor(url, options) {
    super(url, options, loops);
  }
}
