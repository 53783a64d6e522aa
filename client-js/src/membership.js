// What the client knows of one group: who wants it, where it stands, what was seen of it.

/** What of a group's past is between two positions: nothing, a number of events, or unknown. */
function missedBetween(from, to) {
  if (!to || from.epoch !== to.epoch) return { possible: true, epoch: to?.epoch };
  const lost = to.offset - from.offset;
  if (lost <= 0) return null;
  return { possible: false, lost, epoch: to.epoch, from: from.offset + 1, to: to.offset };
}

export class Membership {
  /** @type {'joining' | 'joined' | 'closed'} */
  state = 'joining';
  /** The application's `join`s, and the view that `client.groups` shows. */
  handles = new Set();
  /** How many of them keep the group. */
  refCount = 0;
  /** Whether the gateway put the connection there by itself. */
  byServer = false;
  /** Id of the `join` under way on this connection: answers to older ones don't count. */
  asked = null;
  /** @type {{epoch: string, offset: number} | undefined} of the last event seen */
  position;
  /** The position that this connection asked to go on from. */
  sentSince;
  error = null;
  /** Closed by the end of the client, not by a refusal: comes back with it. */
  suspended = false;
  /** Refused for want of a place: asked for again when one is free. */
  parked = false;
  /** Since when nobody wants it, by the clock. */
  idleSince;

  #joinedBefore = false;
  #replayedTo = 0;

  constructor(name) {
    this.name = name;
  }

  /** The position to ask for: the last one seen, else the earliest that a holder gave. */
  get wantedSince() {
    if (this.position) return this.position;
    let earliest;
    for (const { since } of this.handles) {
      if (!since || (earliest && since.epoch !== earliest.epoch)) continue;
      if (!earliest || since.offset < earliest.offset) earliest = since;
    }
    return earliest;
  }

  /** Wanted (again), and not known to be joined. */
  reopen() {
    this.state = 'joining';
    this.asked = null;
    this.error = null;
    this.suspended = this.parked = false;
  }

  /**
   * The gateway confirmed the join.
   * @returns {Array<() => void>} notify the listeners, later, once the client is consistent
   */
  joined({ epoch, offset, recovered }) {
    this.asked = null;
    // Held all along (the server joined while the request was under way): nothing has changed.
    if (this.state === 'joined' && recovered === undefined) return this.welcomeNew();
    const standing = epoch === undefined ? undefined : { epoch, offset };
    const before = this.position;
    const begins = recovered && this.sentSince ? this.sentSince : standing;
    const missed = this.#missed(before, begins, standing);
    this.state = 'joined';
    this.error = null;
    this.#joinedBefore = true;
    this.#replayedTo = recovered ? offset : 0;
    this.position = begins;
    return [...this.handles].map((handle) => this.#welcome(handle, begins, recovered === true, missed));
  }

  /** @returns {Array<() => void>} notifications for holders that came while it was joined */
  welcomeNew() {
    const fresh = [...this.handles].filter(({ announced }) => !announced);
    return fresh.map((handle) => this.#welcome(handle, this.position, false, null));
  }

  /** What those who were here before may have missed. */
  #missed(before, begins, standing) {
    if (before && begins === this.sentSince && begins?.offset === before.offset) return null;
    if (!this.#joinedBefore && !before) return null;
    const missed = before ? missedBetween(before, standing) : { possible: true, epoch: standing?.epoch };
    return missed && { reason: 'reconnect', ...missed };
  }

  #welcome(handle, begins, recovered, missed) {
    const { since, announced } = handle;
    let gap = announced ? missed : null;
    let kept = recovered;
    if (since && !announced) {
      // Whoever gave a position gets what came after it, or learns what it misses.
      const lost = missedBetween(since, begins);
      gap = lost && { reason: 'reconnect', ...lost };
      kept = !gap;
      if (gap) handle.since = undefined;
    }
    handle.announced = true;
    const position = this.position;
    return () => {
      handle.notify('$joined', { recovered: kept, position });
      if (gap) handle.notify('$gap', gap);
    };
  }

  /** Not a member any more, for a reason that joining again by itself would meet again. */
  close(error, suspended = false) {
    if (this.state === 'closed') return true;
    this.state = 'closed';
    this.asked = null;
    this.error = error;
    this.suspended = suspended;
    let noticed = false;
    for (const handle of [...this.handles]) {
      noticed = handle.fail(error) || noticed;
      if (!suspended) noticed = handle.notify('$left', { reason: error.message, error }) || noticed;
    }
    return noticed;
  }

  /** @returns {object | null} the message, or `null` for what was seen already */
  accept({ offset, id, data }) {
    const message = { group: this.name, event: data.type, data, recovered: false };
    if (offset === undefined || !this.position) return { ...message, id };
    const { epoch, offset: last } = this.position;
    if (offset <= last) return null;
    this.position = { epoch, offset };
    if (offset > last + 1) {
      const gap = { epoch, from: last + 1, to: offset - 1, lost: offset - last - 1 };
      this.#notify('$gap', { reason: 'unannounced', possible: false, ...gap });
    }
    return { ...message, position: this.position, recovered: offset <= this.#replayedTo };
  }

  /** A loss announced by the gateway. */
  gap({ reason, epoch, from, to, lost, possible = false }) {
    if (epoch !== undefined) this.position = { epoch, offset: to ?? 0 };
    this.#notify('$gap', { reason, possible, lost, epoch, from, to });
  }

  /** Up to `offset` nothing more is for this connection, such as its own `echo: false`. */
  passedOver({ epoch, offset }) {
    if (this.position?.epoch === epoch && offset <= this.position.offset) return;
    this.position = { epoch, offset };
  }

  deliver(message) {
    for (const handle of [...this.handles]) if (this.state === 'joined') handle.deliver(message);
  }

  #notify(event, value) {
    for (const handle of [...this.handles]) handle.notify(event, value);
  }
}
