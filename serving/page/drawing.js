/**
 * What lies on a sheet: strokes of a pen, or a picture. Each change is a new state, so that undo is going back to the
 * one before, even after a clear.
 *
 * Lengths are in units of the sheet's height, x to the right and y downwards, so that a sheet of any size on a screen
 * holds the same drawing.
 */

const BLANK = { strokes: [], picture: null };

export class Drawing {
  #past = [];
  #now = BLANK;

  get strokes() {
    return this.#now.strokes;
  }

  /** The picture that lies here, as pictures.js opened it, or null. */
  get picture() {
    return this.#now.picture;
  }

  get isBlank() {
    return this.#now.strokes.length === 0 && this.#now.picture === null;
  }

  /** A new stroke begins. A picture makes room for it. */
  begin(width, point) {
    this.#become({ strokes: [...this.#now.strokes, { width, points: [point] }], picture: null });
  }

  /** The stroke that was begun last goes on. */
  extend(points) {
    this.#now.strokes.at(-1).points.push(...points);
  }

  put(picture) {
    this.#become({ strokes: [], picture });
  }

  clear() {
    this.#become(BLANK);
  }

  undo() {
    this.#now = this.#past.pop() ?? BLANK;
  }

  #become(state) {
    this.#past.push(this.#now);
    this.#now = state;
  }
}
