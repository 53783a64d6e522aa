// Waiting for what has to happen, with an end.

/** Resolves once `condition` holds; looks whenever something may have changed. */
export async function until(condition, what, ms = 20_000) {
  const end = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
