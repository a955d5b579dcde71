/** A sheet of paper: a canvas that mouse, pen and finger write on, and the boxes around what was found on it. */

import { Drawing } from "./drawing.js";
import { frameOf, paintPicture, paintStrokes } from "./paint.js";

export class Sheet extends EventTarget {
  /** What the model made of it: answers with `class`, `confidence`, `probabilities`, `seen` and perhaps `box`. */
  digits = [];
  /** Why the service refuses what lies here, a Problem, or null. */
  refusal = null;
  drawing = new Drawing();
  #pointer = null; // the one that is writing; a second finger or the palm is not another pen

  /** `aspect` is width by height; `pen.width` is asked for at the beginning of each stroke. Fires "change". */
  constructor({ aspect, hint, label, pen }) {
    super();
    this.aspect = aspect;
    this.pen = pen;
    this.element = document.createElement("div");
    this.element.className = "sheet";
    this.element.style.aspectRatio = aspect;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", label);
    this.boxes = document.createElement("div");
    this.boxes.className = "boxes";
    this.boxes.ariaHidden = "true";
    this.hint = document.createElement("p");
    this.hint.className = "hint";
    this.hint.ariaHidden = "true";
    this.hint.textContent = hint;
    this.element.append(this.canvas, this.hint, this.boxes);
    this.#listen();
    new ResizeObserver(() => this.paint()).observe(this.element);
  }

  #listen() {
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.#pointer !== null) return;
      this.#pointer = event.pointerId;
      this.canvas.setPointerCapture(event.pointerId);
      this.drawing.begin(this.pen.width, this.#place(event));
      this.#changed("begin");
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.#pointer) return;
      const events = event.getCoalescedEvents?.() ?? [];
      this.drawing.extend((events.length ? events : [event]).map((one) => this.#place(one)));
      this.#changed("extend");
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (event.pointerId === this.#pointer) this.#pointer = null;
    });
    this.canvas.addEventListener("pointercancel", (event) => {
      if (event.pointerId !== this.#pointer) return;
      this.#pointer = null; // it was a gesture of the system's, or the palm
      this.dispatchEvent(new Event("cancel"));
    });
  }

  #place(event) {
    const { left, top, height } = this.canvas.getBoundingClientRect();
    return [(event.clientX - left) / height, (event.clientY - top) / height];
  }

  put(picture) {
    this.drawing.put(picture);
    this.#changed("begin");
  }

  clear() {
    this.drawing.clear();
    this.#changed("clear");
  }

  undo() {
    this.#pointer = null;
    this.drawing.undo();
    this.#changed("undo");
  }

  #changed(how) {
    if (how !== "extend") this.refusal = null;
    if (how !== "extend") this.showBoxes([]);
    if (this.drawing.isBlank) this.digits = [];
    this.paint();
    this.dispatchEvent(new CustomEvent("change", { detail: how }));
  }

  paint() {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!height) return; // its mode is not shown
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    const context = this.canvas.getContext("2d");
    context.scale(this.canvas.height, this.canvas.height);
    const { picture, strokes } = this.drawing;
    if (picture) paintPicture(context, picture.image, frameOf(this.drawing, this.aspect));
    paintStrokes(context, strokes, getComputedStyle(this.canvas).color);
    this.hint.hidden = !this.drawing.isBlank;
  }

  /** Draw the boxes of `digits`, which are shares of the sides of `frame`. */
  showBoxes(digits, frame) {
    const inPercent = (length, whole) => `${(100 * length) / whole}%`;
    const elements = digits.map(({ box, class: name }) => {
      const element = document.createElement("div");
      element.append(Object.assign(document.createElement("span"), { textContent: name }));
      element.style.left = inPercent(frame.left + box.left * frame.width, this.aspect);
      element.style.top = inPercent(frame.top + box.top * frame.height, 1);
      element.style.width = inPercent(box.width * frame.width, this.aspect);
      element.style.height = inPercent(box.height * frame.height, 1);
      return element;
    });
    this.boxes.replaceChildren(...elements);
  }
}
