// Which of the two builds this is.

/**
 * Whether errors and warnings are whole sentences. `build.mjs` makes this `false` in the production
 * build, whose messages are the code and the value: sentences took a tenth of it.
 */
export const DEVELOPMENT = true;
