/** A canvas to draw on with mouse, pen or finger, and the boxes around the digits found on it. */

import { Drawing } from "./drawing.js";
import { frameOf, paintPicture, paintStrokes } from "./paint.js";

export class DrawingPad extends EventTarget {
  /**
   * The digits that were read: objects with `class`, `confidence`, `reason`, `probabilities`, `seen` and, from a line,
   * `box`. With a reason it is none.
   */
  digits = [];
  /** The boxes of marks in a line that are no digits. */
  rejected = [];
  /** The picture file in which they were read, or null. */
  file = null;
  /** Whether the drawing is a line in which no digit was found. */
  isUnread = false;
  /** The Problem for which the service refused the drawing, or null. */
  refusal = null;
  drawing = new Drawing();
  #pointer = null; // the id of the pointer that is drawing; a second finger or the palm is ignored

  /** `aspect` is width by height; `pen.width` is read at the start of each stroke. Fires "change" and "cancel". */
  constructor({ aspect, hint, label, pen }) {
    super();
    this.aspect = aspect;
    this.pen = pen;
    this.element = document.createElement("div");
    this.element.className = "pad";
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
      this.drawing.startStroke(this.pen.width, this.#position(event));
      this.#changed("start");
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.#pointer) return;
      const coalesced = event.getCoalescedEvents?.() ?? [];
      const events = coalesced.length ? coalesced : [event];
      this.drawing.extendStroke(events.map((one) => this.#position(one)));
      this.#changed("extend");
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (event.pointerId === this.#pointer) this.#pointer = null;
    });
    this.canvas.addEventListener("pointercancel", (event) => {
      if (event.pointerId !== this.#pointer) return;
      this.#pointer = null; // it was a system gesture, or the palm
      this.dispatchEvent(new Event("cancel"));
    });
  }

  #position(event) {
    const { left, top, height } = this.canvas.getBoundingClientRect();
    return [(event.clientX - left) / height, (event.clientY - top) / height];
  }

  setPicture(picture) {
    this.drawing.setPicture(picture);
    this.#changed("start");
  }

  /** Show what another pad shows, in the middle. */
  copy({ drawing, aspect }) {
    this.drawing.copy(drawing, (this.aspect - aspect) / 2);
    this.#changed("start");
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

  #changed(kind) {
    if (kind !== "extend") this.refusal = null;
    if (kind !== "extend") this.showBoxes([], []);
    if (this.drawing.isBlank) Object.assign(this, { digits: [], rejected: [], isUnread: false });
    this.paint();
    this.dispatchEvent(new CustomEvent("change", { detail: kind }));
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

  /** Draw the boxes of `digits` and of `rejected` marks, whose lengths are shares of the sides of `frame`. */
  showBoxes(digits, rejected, frame) {
    const inPercent = (length, whole) => `${(100 * length) / whole}%`;
    const marks = rejected.map((box) => ({ box, class: "", isRejected: true }));
    const elements = [...digits, ...marks].map(({ box, class: name, isRejected }) => {
      const element = document.createElement("div");
      element.classList.toggle("rejected", Boolean(isRejected));
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
