/** A way to write: one digit, four boxes or a line. Its sheets keep what is on them while another mode is shown. */

import { predict, read } from "./service.js";
import { Sheet } from "./sheet.js";

export const MODES = {
  one: { sheets: 1, aspect: 1, invitation: "Draw a digit" },
  four: { sheets: 4, aspect: 1, invitation: "Draw a digit in each box" },
  line: { sheets: 1, aspect: 2, invitation: "Write a number" },
};

export class Mode extends EventTarget {
  #changed = []; // groups of sheets, in the order in which they were changed, for undo
  #chosen = null; // the index of the digit that is shown in full, where a person chose one

  /** Fires "change" with the sheet as its detail, and "choose" when a box was chosen with the keyboard. */
  constructor(name, pen) {
    super();
    const { sheets, aspect, invitation } = MODES[name];
    this.name = name;
    this.invitation = invitation;
    this.element = document.createElement("div");
    this.element.className = `mode ${name}`;
    this.sheets = Array.from({ length: sheets }, (_, index) => {
      const label = sheets > 1 ? `Box ${index + 1} to draw a digit in` : "Sheet to draw on";
      const sheet = new Sheet({ aspect, hint: sheets > 1 ? index + 1 : "Here, or drop a picture", label, pen });
      sheet.addEventListener("change", ({ detail }) => this.#note(sheet, detail));
      sheet.addEventListener("cancel", () => this.undo());
      if (sheets > 1) this.#makeChoosable(sheet, index);
      return sheet;
    });
    this.current = this.sheets[0];
    this.element.append(...this.sheets.map((sheet) => sheet.element));
  }

  #note(sheet, how) {
    if (how === "begin") this.#changed.push([sheet]);
    if (how === "begin" || how === "undo") this.current = sheet;
    this.#chosen = null;
    this.dispatchEvent(new CustomEvent("change", { detail: sheet }));
  }

  /** What was read, null for a blank sheet. At least one element. */
  get digits() {
    if (this.name === "four") return this.sheets.map((sheet) => sheet.digits[0] ?? null);
    return this.sheets[0].digits.length ? this.sheets[0].digits : [null];
  }

  /** The digit that is shown in full: the one that a person chose, else the box written last, or a line's least certain. */
  get chosen() {
    const { digits } = this;
    if (this.#chosen !== null && this.#chosen < digits.length) return this.#chosen;
    if (this.name === "four") return this.sheets.indexOf(this.current);
    const confidences = digits.map((digit) => digit?.confidence ?? 1);
    return confidences.indexOf(Math.min(...confidences));
  }

  set chosen(index) {
    this.#chosen = index;
    if (this.name === "four") this.current = this.sheets[index];
  }

  /** With the keyboard: the box that is chosen takes the next picture. */
  #makeChoosable({ canvas }, index) {
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "button");
    canvas.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.chosen = index;
      this.dispatchEvent(new Event("choose"));
    });
  }

  get isBlank() {
    return this.sheets.every((sheet) => sheet.drawing.isBlank);
  }

  get canUndo() {
    return this.#changed.length > 0;
  }

  undo() {
    for (const sheet of this.#changed.pop() ?? []) sheet.undo();
  }

  clear() {
    const written = this.sheets.filter((sheet) => !sheet.drawing.isBlank);
    if (written.length) this.#changed.push(written);
    for (const sheet of written) sheet.clear();
    this.current = this.sheets[0];
  }

  /** The digits in a file, as the service reads them in this mode. */
  async ask(file) {
    if (this.name === "line") return (await this.#tagged(read(file))).digits;
    const answer = await this.#tagged(predict(file));
    return answer.is_blank ? [] : [answer];
  }

  async #tagged(answering) {
    const answer = await answering;
    this.dispatchEvent(new CustomEvent("model", { detail: answer.model }));
    return answer;
  }
}
