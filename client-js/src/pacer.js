// Keeps the client under the gateway's limit of frames, over which connections are closed.

import { clock } from './clock.js';

/** The gateway's defaults, for one whose `welcome` does not give them. */
const DEFAULTS = { frames_per_second: 50, frame_burst: 200 };
/** Part of the limit that is used: both sides' clocks and the network's jitter take the rest. */
const MARGIN = 0.8;

export class Pacer {
  #rate;
  #budget;
  #at;
  /** Most requests that may be unanswered: after a stall they all arrive at once. */
  mostOpen;

  /** A connection begins, with a full budget. */
  begin(welcome) {
    const { frames_per_second: rate, frame_burst: burst } = { ...DEFAULTS, ...welcome };
    this.#rate = (rate * MARGIN) / 1000;
    this.mostOpen = Math.max(1, Math.floor(burst * MARGIN));
    this.#budget = this.mostOpen;
    this.#at = clock();
  }

  /** A frame goes out. */
  spend() {
    this.#budget -= 1;
  }

  /** Milliseconds until the next request may go out. */
  pause() {
    const now = clock();
    this.#budget = Math.min(this.mostOpen, this.#budget + (now - this.#at) * this.#rate);
    this.#at = now;
    return this.#budget >= 1 ? 0 : Math.ceil((1 - this.#budget) / this.#rate);
  }
}
