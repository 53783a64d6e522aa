// Keeps the client under the gateway's limit of frames, over which connections are closed. By the steady
// clock: the gateway gives nothing for time asleep or a wall clock that is set.

/** Part of the limit that is used: both sides' clocks and the network's jitter take the rest. */
const MARGIN = 0.8;

/** Its `mostOpen`: most requests that may be unanswered, since after a stall they all arrive at once. */
export function createPacer() {
  let rate;
  let budget;
  let at;

  const pacer = {
    /** A connection begins, with a full budget. The gateway's defaults, where `welcome` has no limits. */
    begin({ frames_per_second: perSecond = 50, frame_burst: burst = 200 }) {
      rate = (perSecond * MARGIN) / 1000;
      budget = pacer.mostOpen = Math.max(1, Math.floor(burst * MARGIN));
      at = performance.now();
    },

    /** A frame goes out. */
    spend() {
      budget -= 1;
    },

    /** Milliseconds until the next request may go out. */
    pause() {
      const now = performance.now();
      budget = Math.min(pacer.mostOpen, budget + (now - at) * rate);
      at = now;
      return budget >= 1 ? 0 : Math.ceil((1 - budget) / rate);
    },
  };
  return pacer;
}
