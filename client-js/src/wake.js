// Detects that a page may have another network: online again, visible again, back from sleep or
// history.

/**
 * @param {import('./connector.js').Connector} link
 * @returns {() => void} stops watching; until then the page keeps the client alive
 */
export function watchNetwork(link) {
  const { document, navigator } = globalThis;
  const page = globalThis.window ?? globalThis;
  const wake = () => link.wake(true);
  const doubt = () => link.session?.probe();
  const visible = () => document.visibilityState !== 'hidden' && wake();
  // Workers get network events, too, but have no page.
  const watched = [
    [page, 'online', wake],
    [page, 'offline', doubt],
    // Chromium reports a change from one network to another without `offline` between.
    [navigator?.connection, 'change', doubt],
    [page, 'pagehide', ({ persisted }) => persisted && link.suspend()],
    [page, 'pageshow', ({ persisted }) => persisted && wake()],
    [document, 'visibilitychange', visible],
    // Chromium's thaw of a frozen page comes without a change of visibility.
    [document, 'resume', visible],
  ];
  const each = (method) => {
    for (const [target, event, callback] of watched) target?.[method]?.(event, callback);
  };
  each('addEventListener');
  return () => each('removeEventListener');
}

/** Whether this is a browser's page or worker, not a server that renders pages, or a program. */
export const inBrowser = () => Boolean(globalThis.window?.document ?? globalThis.WorkerGlobalScope);
