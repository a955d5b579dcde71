/**
 * The content of a drawing pad: strokes or a picture. Each change makes a new state; undo returns to the one before,
 * also after a clear.
 *
 * Lengths are in units of the pad's height, x to the right and y downwards, so that a drawing does not depend on the
 * pad's size on the screen.
 */

const BLANK = { strokes: [], picture: null };

export class Drawing {
  #history = [];
  #state = BLANK;

  get strokes() {
    return this.#state.strokes;
  }

  /** The picture, as `open` of pictures.js returned it, or null. */
  get picture() {
    return this.#state.picture;
  }

  get isBlank() {
    return this.#state.strokes.length === 0 && this.#state.picture === null;
  }

  /** Start a stroke. It replaces a picture. */
  startStroke(width, point) {
    this.#change({ strokes: [...this.#state.strokes, { width, points: [point] }], picture: null });
  }

  /** Add points to the last stroke. */
  extendStroke(points) {
    this.#state.strokes.at(-1).points.push(...points);
  }

  setPicture(picture) {
    this.#change({ strokes: [], picture });
  }

  /** Replace the content by that of another drawing, moved to the right by `shift`. */
  copy({ strokes, picture }, shift) {
    const moved = strokes.map(({ width, points }) => ({ width, points: points.map(([x, y]) => [x + shift, y]) }));
    this.#change({ strokes: moved, picture });
  }

  clear() {
    this.#change(BLANK);
  }

  undo() {
    this.#state = this.#history.pop() ?? BLANK;
  }

  #change(state) {
    this.#history.push(this.#state);
    this.#state = state;
  }
}
