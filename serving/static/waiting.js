/** Waiting that can be broken off. Listeners are taken away again: a signal of the camera lives long. */

/** Wait until `begin` calls back; throws the signal's reason if it comes first. */
export async function until(begin, signal) {
  signal.throwIfAborted();
  let giveUp = null;
  try {
    await new Promise((resolve, reject) => {
      giveUp = () => reject(signal.reason);
      signal.addEventListener("abort", giveUp);
      begin(resolve);
    });
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

export function pause(seconds, signal) {
  return until((resume) => setTimeout(resume, 1000 * seconds), signal);
}

/** Run an action with a signal that is aborted, with `error` as the reason, if it takes too long. */
export async function inTime(action, seconds, signal, error) {
  const limited = new AbortController();
  const giveUp = () => limited.abort(signal.reason);
  const timer = setTimeout(() => limited.abort(error), 1000 * seconds);
  signal.addEventListener("abort", giveUp);
  try {
    signal.throwIfAborted();
    return await action(limited.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
  }
}
