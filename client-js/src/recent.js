// Recently seen ids, for groups without positions: an event that arrives twice is delivered once.

const MOST = 512;

/** @returns {(id: string) => boolean} whether an id is new; notes it */
export function createRecent() {
  const ids = new Set();
  return (id) => {
    if (ids.has(id)) return false;
    ids.add(id);
    if (ids.size > MOST) ids.delete(ids.values().next().value);
    return true;
  };
}
