/** Announces a text to screen readers once it has not changed for a moment: during drawing it changes constantly. */

const DELAY = 900; // milliseconds

export class LiveRegion {
  #next = "";
  #timer;

  /** `element` has the role "status". */
  constructor(element) {
    this.element = element;
  }

  /** A sentence that is repeated is announced once. */
  announce(sentence) {
    if (sentence === this.#next) return;
    this.#next = sentence;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.element.textContent = sentence;
    }, DELAY);
  }
}
