// Tells when a page may have a network again: back online, back in sight, back from sleep.

/**
 * @param {() => void} callback
 * @returns {() => void} stops watching; until then the page keeps the client alive
 */
export function watchWaking(callback) {
  const { window, document } = globalThis;
  if (!window?.addEventListener || !document) return () => {};
  const wake = () => {
    if (document.visibilityState !== 'hidden') callback();
  };
  const watched = [
    [window, 'online'],
    [window, 'pageshow'],
    [document, 'visibilitychange'],
    // Chromium's thaw of a frozen page comes without a change of visibility.
    [document, 'resume'],
  ];
  for (const [target, event] of watched) target.addEventListener(event, wake);
  return () => {
    for (const [target, event] of watched) target.removeEventListener(event, wake);
  };
}
