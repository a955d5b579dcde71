/** Announces to screen readers what has not changed for a moment: during a drawing it changes many times a second. */

const DELAY = 900; // milliseconds

export class LiveRegion {
  #next = "";
  #timer;

  /** `element` has the role "status". */
  constructor(element) {
    this.element = element;
  }

  /** The same sentence twice in a row is announced once. */
  announce(sentence) {
    if (sentence === this.#next) return;
    this.#next = sentence;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.element.textContent = sentence;
    }, DELAY);
  }
}
