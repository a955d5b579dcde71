/** One request at a time, each for the latest drawing, and again by itself while the service is gone or busy. */

import { Problem } from "./service.js";

const BREATH = 60; // milliseconds between two requests; more often than an eye sees is of no use
const FIRST_WAIT = 0.5; // seconds before the second attempt; it doubles from one to the next
const LONGEST_WAIT = 4; // seconds

export class Asker extends EventTarget {
  /** The Problem because of which questions are being repeated, or null. */
  trouble = null;
  #waiting = new Map(); // questions by the one who asks; a later one takes the place of an earlier one
  #current = null;
  #failures = 0;

  get isBusy() {
    return this.#current !== null || this.#waiting.size > 0;
  }

  /**
   * Ask `question.send()` when its turn comes, then call `question.answered(answer)` or, where the service will not
   * take it, `question.refused(problem)`. Fires "state" when `isBusy` or `trouble` may have changed.
   */
  ask(who, question) {
    const isIdle = !this.isBusy;
    this.#waiting.set(who, question);
    if (isIdle) this.#work();
  }

  /** What was asked is of no interest any more, even if the answer is on its way. */
  forget(who) {
    this.#waiting.delete(who);
    if (this.#current?.who === who) this.#current.isForgotten = true;
  }

  async #work() {
    while (this.#waiting.size) {
      const [[who, question]] = this.#waiting;
      this.#waiting.delete(who);
      this.#current = { who, isForgotten: false };
      this.#fire();
      await pause(await this.#attempt(this.#current, question));
    }
    this.#current = null;
    this.trouble = null; // nobody waits for the service any more
    this.#fire();
  }

  /** Seconds to wait before the next attempt. */
  async #attempt(current, question) {
    try {
      const answer = await question.send();
      this.#went(null);
      if (!current.isForgotten) question.answered(answer);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      this.#went(problem.passes ? problem : null);
      if (!problem.passes && !current.isForgotten) question.refused(problem);
      if (problem.passes) {
        const isWanted = !current.isForgotten && !this.#waiting.has(current.who);
        if (isWanted) this.#waiting.set(current.who, question);
        return problem.wait ?? Math.min(FIRST_WAIT * 2 ** (this.#failures - 1), LONGEST_WAIT);
      }
    }
    return BREATH / 1000;
  }

  #went(problem) {
    this.#failures = problem ? this.#failures + 1 : 0;
    const isQuiet = problem?.isBusy && this.#failures < 5;
    if (!isQuiet) this.trouble = problem;
    this.#fire();
  }

  #fire() {
    this.dispatchEvent(new Event("state"));
  }
}

/** Wait so many seconds, or until the connection is back. */
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
