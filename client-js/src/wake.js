// Tells when a page may have another network: back online, back in sight, back from sleep or history.

/**
 * @param {{wake(): void, doubt(): void, leave(): void}} on `wake`: there may be a network again;
 *   `doubt`: there may be none; `leave`: the page goes into the back/forward cache
 * @returns {() => void} stops watching; until then the page keeps the client alive
 */
export function watchNetwork({ wake, doubt, leave }) {
  const { document, navigator } = globalThis;
  const page = globalThis.window ?? globalThis;
  const visible = () => document.visibilityState !== 'hidden' && wake();
  // Workers hear of the network, too, but have no page.
  const watched = [
    [page, 'online', wake],
    [page, 'offline', doubt],
    // Chromium tells of a change from one network to another, without `offline` between.
    [navigator?.connection, 'change', doubt],
    [page, 'pagehide', ({ persisted }) => persisted && leave()],
    [page, 'pageshow', ({ persisted }) => persisted && wake()],
    [document, 'visibilitychange', visible],
    // Chromium's thaw of a frozen page comes without a change of visibility.
    [document, 'resume', visible],
  ].filter(([target]) => target?.addEventListener);
  for (const [target, event, callback] of watched) target.addEventListener(event, callback);
  return () => {
    for (const [target, event, callback] of watched) target.removeEventListener(event, callback);
  };
}

/** Whether this is a browser's page or worker: elsewhere a page is only rendered, or a program runs. */
export const inBrowser = () => Boolean(globalThis.window?.document ?? globalThis.WorkerGlobalScope);
