/** Sends one request at a time, always the latest of its key, and retries while the service is unreachable or busy. */

import { Problem } from "./api.js";

const MIN_INTERVAL = 0.06; // seconds between two requests; the eye would not see more updates
const FIRST_RETRY = 0.5; // seconds before the first retry; doubled from one to the next
const LAST_RETRY = 4; // seconds; the longest delay before a retry
const BUSY_ATTEMPTS = 5; // before a busy service is reported as a problem

export class RequestQueue extends EventTarget {
  /** The Problem that causes requests to be retried, or null. */
  problem = null;
  #pending = new Map(); // requests by key; a later one replaces an earlier one
  #current = null;
  #failures = 0;

  get isBusy() {
    return this.#current !== null || this.#pending.size > 0;
  }

  /**
   * Call `request.send()` when its turn comes, then `request.onAnswer(answer)` or, if the service refuses it,
   * `request.onRefusal(problem)`. Fires "state" when `isBusy` or `problem` may have changed.
   */
  add(key, request) {
    const isIdle = !this.isBusy;
    this.#pending.set(key, request);
    if (isIdle) this.#run();
  }

  /** Drop the request; if it has been sent already, ignore its answer. */
  cancel(key) {
    this.#pending.delete(key);
    if (this.#current?.key === key) this.#current.isCancelled = true;
  }

  async #run() {
    while (this.#pending.size) {
      const [[key, request]] = this.#pending;
      this.#pending.delete(key);
      this.#current = { key, isCancelled: false };
      this.#fire();
      await pause(await this.#attempt(this.#current, request));
    }
    this.#current = null;
    this.problem = null; // nothing is left to retry
    this.#fire();
  }

  /** Returns the seconds to wait before the next attempt. */
  async #attempt(current, request) {
    try {
      const answer = await request.send();
      this.#setProblem(null);
      if (!current.isCancelled) request.onAnswer(answer);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      this.#setProblem(problem.isTemporary ? problem : null);
      if (!problem.isTemporary && !current.isCancelled) request.onRefusal(problem);
      if (problem.isTemporary) {
        const isLatest = !current.isCancelled && !this.#pending.has(current.key);
        if (isLatest) this.#pending.set(current.key, request);
        return problem.retryAfter ?? Math.min(FIRST_RETRY * 2 ** (this.#failures - 1), LAST_RETRY);
      }
    }
    return MIN_INTERVAL;
  }

  #setProblem(problem) {
    this.#failures = problem ? this.#failures + 1 : 0;
    const isIgnored = problem?.isBusy && this.#failures < BUSY_ATTEMPTS;
    if (!isIgnored) this.problem = problem;
    this.#fire();
  }

  #fire() {
    this.dispatchEvent(new Event("state"));
  }
}

/** Wait for this many seconds, or until the connection is back. */
function pause(seconds) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      resolve();
    };
    const timer = setTimeout(end, 1000 * seconds);
    addEventListener("online", end);
  });
}
