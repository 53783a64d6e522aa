// The state of one group: its handles, its position, the events seen.

/**
 * @typedef {object} Membership
 * @property {string} name
 * @property {boolean} [joined]
 * @property {Set<object>} handles the application's `join`s, and the view that `client.groups` shows
 * @property {object} [view]
 * @property {boolean} [byServer] whether the server joined it without a request
 * @property {object} [asked] marks the `join` in flight on this connection: answers to older ones don't
 *   count
 * @property {{epoch: string, offset: number}} [position] of the last event seen
 * @property {object} [sentSince] the position that this connection asked to go on from
 * @property {Error | null} error why it is closed: neither joined nor wanted
 * @property {boolean} [before] whether it has been joined before
 * @property {number} [replayedTo] the last offset of a replay
 */

/** @returns {Membership} */
export const createMembership = (name) => ({
  name,
  handles: new Set(),
  error: null,
});

/** Whether one of the handles keeps the group. */
export const isHeld = ({ handles, view }) => handles.size > (view ? 1 : 0);

/** Whether it was refused for lack of a place: retried when one is free. */
export const isParked = ({ error }) => error?.code === 'too_many_groups';

/** The gap between two positions: none, a number of events, or unknown. */
function missedBetween(from, to) {
  const reason = 'reconnect';
  if (!to || from.epoch !== to.epoch) return { reason, possible: true, epoch: to?.epoch };
  const lost = to.offset - from.offset;
  return lost > 0 && { reason, possible: false, lost, epoch: to.epoch, from: from.offset + 1, to: to.offset };
}

/** The position to ask for: the last one seen, else the earliest that a holder gave. */
export function wantedSince(member) {
  if (member.position) return member.position;
  let earliest;
  for (const { since } of member.handles) {
    const earlier = !earliest || (since?.epoch === earliest.epoch && since.offset < earliest.offset);
    if (since && earlier) earliest = since;
  }
  return earliest;
}

/** Wanted (again), and not known to be joined. */
export function reopen(member) {
  member.joined = false;
  member.asked = undefined;
  member.error = null;
}

/**
 * The gateway confirmed the join.
 * @returns {Array<() => void>} notify the listeners, later, once the client is consistent
 */
export function joined(member, { epoch, offset, recovered }) {
  // Held all along (the server joined while the request was in flight): nothing has changed.
  if (member.joined && recovered === undefined) return welcomeNew(member);
  const standing = epoch && { epoch, offset };
  const begins = (recovered && member.sentSince) || standing;
  const missed = missedSince(member, begins, standing);
  reopen(member);
  member.joined = member.before = true;
  member.replayedTo = recovered ? offset : 0;
  member.position = begins;
  return [...member.handles].map((handle) => welcome(member, handle, recovered === true, missed));
}

/** @returns {Array<() => void>} notifications for holders that came while it was joined */
export function welcomeNew(member) {
  const fresh = [...member.handles].filter(({ announced }) => !announced);
  return fresh.map((handle) => welcome(member, handle, false));
}

/** What those who were here before may have missed. */
function missedSince({ position, sentSince, before }, begins, standing) {
  if (position && begins === sentSince && begins?.offset === position.offset) return null;
  return position || before ? missedBetween(position ?? {}, standing) : null;
}

function welcome({ position }, handle, recovered, missed) {
  const { since, announced } = handle;
  let gap = announced && missed;
  let kept = recovered;
  if (since && !announced) {
    // A handle with a position gets what came after it, or a gap for what is missing.
    gap = missedBetween(since, position);
    kept = !gap;
    if (gap) handle.since = undefined;
  }
  handle.announced = true;
  return () => {
    handle.notify('$joined', { recovered: kept, position });
    if (gap) handle.notify('$gap', gap);
  };
}

/**
 * Not a member any more, for a reason that would also refuse another join.
 * @param {boolean} [quiet] whether the client ends, which tells it once for all groups
 * @returns {boolean} whether anybody noticed
 */
export function close(member, error, quiet) {
  if (member.error) return true;
  reopen(member);
  member.error = error;
  let noticed = false;
  for (const handle of [...member.handles]) noticed = handle.fail(error, quiet) || noticed;
  return noticed;
}

/** @returns {object | null} the message, or `null` for what was seen already */
export function accept(member, { offset, id, data }) {
  const message = { group: member.name, event: data.type, data, recovered: false };
  const last = member.position;
  if (offset === undefined || !last) return { ...message, id };
  if (offset <= last.offset) return null;
  const { epoch } = last;
  const position = (member.position = { epoch, offset });
  const skipped = missedBetween(last, { epoch, offset: offset - 1 });
  if (skipped) notify(member, { ...skipped, reason: 'unannounced' });
  return { ...message, position, recovered: offset <= member.replayedTo };
}

/** The gateway announces a loss, or that up to `offset` nothing more is for this connection. */
export function moved(member, { type, reason, epoch, offset, from, to, lost, possible = false }) {
  if (type === 'gap') {
    if (epoch) member.position = { epoch, offset: to ?? 0 };
    notify(member, { reason, possible, lost, epoch, from, to });
  } else if (member.position?.epoch !== epoch || offset > member.position.offset) {
    member.position = { epoch, offset };
  }
}

export function deliver(member, message) {
  for (const handle of [...member.handles]) if (member.joined) handle.deliver(message);
}

function notify(member, gap) {
  for (const handle of member.handles) handle.notify('$gap', gap);
}
