// The state of one group: its handles, its position, the events seen.

/** The gap between two positions: none, a number of events, or unknown. */
function missedBetween(from, to) {
  const reason = 'reconnect';
  if (!to || from.epoch !== to.epoch) return { reason, possible: true, epoch: to?.epoch };
  const lost = to.offset - from.offset;
  if (lost <= 0) return null;
  return { reason, possible: false, lost, epoch: to.epoch, from: from.offset + 1, to: to.offset };
}

export class Membership {
  /** @type {'joining' | 'joined' | 'closed'} */
  state = 'joining';
  /** The application's `join`s, and the view that `client.groups` shows. */
  handles = new Set();
  /** How many of them keep the group. */
  refCount = 0;
  /** Whether the server joined it without a request. */
  byServer = false;
  /** Marks the `join` in flight on this connection: answers to older ones don't count. */
  asked;
  /** @type {{epoch: string, offset: number} | undefined} of the last event seen */
  position;
  /** The position that this connection asked to go on from. */
  sentSince;
  error = null;
  /** Closed by the end of the client, not by a refusal: restored with it. */
  suspended = false;
  /** Refused for lack of a place: retried when one is free. */
  parked = false;
  /** Since when it has no handles, by the clock. */
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
    this.asked = undefined;
    this.error = null;
    this.suspended = this.parked = false;
  }

  /**
   * The gateway confirmed the join.
   * @returns {Array<() => void>} notify the listeners, later, once the client is consistent
   */
  joined({ epoch, offset, recovered }) {
    this.asked = undefined;
    // Held all along (the server joined while the request was in flight): nothing has changed.
    if (this.state === 'joined' && recovered === undefined) return this.welcomeNew();
    const standing = epoch === undefined ? undefined : { epoch, offset };
    const begins = (recovered && this.sentSince) || standing;
    const missed = this.#missed(begins, standing);
    this.state = 'joined';
    this.error = null;
    this.#joinedBefore = true;
    this.#replayedTo = recovered ? offset : 0;
    this.position = begins;
    return [...this.handles].map((handle) => this.#welcome(handle, recovered, missed));
  }

  /** @returns {Array<() => void>} notifications for holders that came while it was joined */
  welcomeNew() {
    const fresh = [...this.handles].filter(({ announced }) => !announced);
    return fresh.map((handle) => this.#welcome(handle, false, null));
  }

  /** What those who were here before may have missed. */
  #missed(begins, standing) {
    const before = this.position;
    if (before && begins === this.sentSince && begins?.offset === before.offset) return null;
    if (before) return missedBetween(before, standing);
    return this.#joinedBefore ? missedBetween({}, standing) : null;
  }

  #welcome(handle, recovered, missed) {
    const { since, announced } = handle;
    const { position } = this;
    let gap = announced ? missed : null;
    let kept = recovered === true;
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

  /** Not a member any more, for a reason that would also refuse another join. */
  close(error, suspended = false) {
    if (this.state === 'closed') return true;
    this.state = 'closed';
    this.asked = undefined;
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
    const last = this.position;
    if (offset <= last.offset) return null;
    this.position = { epoch: last.epoch, offset };
    const skipped = missedBetween(last, { epoch: last.epoch, offset: offset - 1 });
    if (skipped) this.#notify('$gap', { ...skipped, reason: 'unannounced' });
    return { ...message, position: this.position, recovered: offset <= this.#replayedTo };
  }

  /** The gateway announces a loss, or that up to `offset` nothing more is for this connection. */
  moved({ type, reason, epoch, offset, from, to, lost, possible = false }) {
    if (type === 'gap') {
      if (epoch !== undefined) this.position = { epoch, offset: to ?? 0 };
      this.#notify('$gap', { reason, possible, lost, epoch, from, to });
    } else if (this.position?.epoch !== epoch || offset > this.position.offset) {
      this.position = { epoch, offset };
    }
  }

  deliver(message) {
    for (const handle of [...this.handles]) if (this.state === 'joined') handle.deliver(message);
  }

  #notify(event, value) {
    for (const handle of [...this.handles]) handle.notify(event, value);
  }
}
