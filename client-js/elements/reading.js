// What an event of a task says to people: how far, and in which words.

const KNOWN = ['PENDING', 'RECEIVED', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED'];
const number = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : null);
const first = (...values) => values.find((value) => value !== null && value !== undefined) ?? null;
const text = (value) => (typeof value === 'string' && value.trim() ? value.trim() : null);

/** How much of the whole is done, percent; null where that is not told. */
function share(progress) {
  if (typeof progress === 'number') return bounded(number(progress));
  const told = first(number(progress?.percent), number(progress?.percentage));
  if (told !== null) return bounded(told);
  const [done, total] = counted(progress);
  return done !== null && total > 0 ? bounded((done / total) * 100) : null;
}

/** Done and total, by the names that sites and Celery's own examples give them. */
function counted(progress) {
  const done = first(number(progress?.current), number(progress?.done), number(progress?.completed));
  return [done, number(progress?.total)];
}

const bounded = (percent) => (percent === null ? null : Math.min(100, Math.max(0, percent)));

/**
 * @param event `{state, progress?, error?}`, as the gateway sends it
 * @param words texts of one language
 * @returns {{state: string, percent: number | null, text: string}} `state` in lower case; any of the
 * site's own is `progress`
 */
export function reading({ state, progress, error }, words) {
  const known = KNOWN.includes(state) ? state : 'PROGRESS';
  const percent = known === 'SUCCESS' ? 100 : share(progress);
  const [done, total] = counted(progress);
  const count = done !== null && total !== null ? words.count(done, total) : null;
  const said = text(progress) ?? text(progress?.description) ?? text(progress?.message) ?? text(progress?.text);
  const why = text(error) ?? text(error?.message);
  const parts = {
    FAILURE: [words.FAILURE, why],
    PROGRESS: [percent === null ? null : `${Math.round(percent)} %`, count, said],
  }[known] ?? [words[known], known === 'SUCCESS' ? null : count];
  return { state: known.toLowerCase(), percent, text: parts.filter(Boolean).join(' · ') || words.STARTED };
}
