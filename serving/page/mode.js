/** An input mode: one digit, four boxes or a line. Its pads keep their drawings while another mode is shown. */

import { predict, read } from "./api.js";
import { DrawingPad } from "./drawing_pad.js";

export const MODES = {
  one: { pads: 1, aspect: 1, prompt: "Draw a digit" },
  four: { pads: 4, aspect: 1, prompt: "Draw a digit in each box" },
  line: { pads: 1, aspect: 2, prompt: "Write a number" },
};

export class Mode extends EventTarget {
  #history = []; // of changes, for undo: each the pads that it changed
  #selected = null; // the index of the digit that the user selected, if any

  /** Fires "change" with the pad as its detail, "model" with the model's name, "select" at a key press in a box. */
  constructor(name, pen) {
    super();
    const { pads, aspect, prompt } = MODES[name];
    this.name = name;
    this.prompt = prompt;
    this.element = document.createElement("div");
    this.element.className = `mode ${name}`;
    this.pads = Array.from({ length: pads }, (_, index) => {
      const label = pads > 1 ? `Box ${index + 1}: draw a digit` : "Drawing area";
      const pad = new DrawingPad({ aspect, hint: pads > 1 ? index + 1 : "Draw, or drop a picture", label, pen });
      pad.addEventListener("change", ({ detail }) => this.#onChange(pad, detail));
      pad.addEventListener("cancel", () => this.undo());
      if (pads > 1) this.#makeSelectable(pad, index);
      return pad;
    });
    this.current = this.pads[0];
    this.element.append(...this.pads.map((pad) => pad.element));
  }

  #onChange(pad, kind) {
    if (kind === "start") this.#history.push([pad]);
    if (kind === "start" || kind === "undo") this.current = pad;
    this.#selected = null;
    this.dispatchEvent(new CustomEvent("change", { detail: pad }));
  }

  /** The digits that were read, at least one element; null for a blank pad. */
  get digits() {
    if (this.name === "four") return this.pads.map((pad) => pad.digits[0] ?? null);
    return this.pads[0].digits.length ? this.pads[0].digits : [null];
  }

  /** The index of the digit shown in full: the one the user selected, the last box drawn in, a line's least certain. */
  get selected() {
    const { digits } = this;
    if (this.#selected !== null && this.#selected < digits.length) return this.#selected;
    if (this.name === "four") return this.pads.indexOf(this.current);
    const confidences = digits.map((digit) => (digit ? (digit.confidence ?? 0) : 1));
    return confidences.indexOf(Math.min(...confidences));
  }

  /** The file in which the selected digit was read. */
  get file() {
    return (this.name === "four" ? this.pads[this.selected] : this.pads[0]).file;
  }

  set selected(index) {
    this.#selected = index;
    if (this.name === "four") this.current = this.pads[index];
  }

  /** Let the keyboard select a box, to which the next picture goes. */
  #makeSelectable({ canvas }, index) {
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "button");
    canvas.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.selected = index;
      this.dispatchEvent(new Event("select"));
    });
  }

  get isBlank() {
    return this.pads.every((pad) => pad.drawing.isBlank);
  }

  get canUndo() {
    return this.#history.length > 0;
  }

  undo() {
    for (const pad of this.#history.pop() ?? []) pad.undo();
  }

  clear() {
    const drawn = this.pads.filter((pad) => !pad.drawing.isBlank);
    if (drawn.length) this.#history.push(drawn);
    for (const pad of drawn) pad.clear();
    this.current = this.pads[0];
  }

  /** The boxes of marks in a line that are no digits. */
  get rejected() {
    return this.pads[0].rejected;
  }

  /** Whether there is a line in which no digit was found. */
  get isUnread() {
    return this.pads.some((pad) => pad.isUnread);
  }

  /**
   * What the endpoint of this mode reads in a file: `digits`, of which one with a reason is none, `rejected` and
   * `isUnread` as a pad has them, and `file` itself. Throws Problem.
   */
  async classify(file) {
    const answer = await (this.name === "line" ? read : predict)(file);
    this.dispatchEvent(new CustomEvent("model", { detail: answer.model }));
    const { digits = [answer], rejected = [], reason } = answer;
    if (reason === "blank_page") return { digits: [], rejected, isUnread: false, file };
    return { digits, rejected, isUnread: digits.length === 0, file };
  }
}
