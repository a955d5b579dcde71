/** Says to a screen reader what has stood for a moment, and never the same twice: a drawing changes many times a second. */

const MOMENT = 900; // milliseconds

export class Voice {
  #next = "";
  #timer;

  /** `element` is a live region. */
  constructor(element) {
    this.element = element;
  }

  say(sentence) {
    if (sentence === this.#next) return;
    this.#next = sentence;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.element.textContent = sentence;
    }, MOMENT);
  }
}
