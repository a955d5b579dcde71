/** The result: the answer in large type, the model's input, and a table of probabilities. */

import { closest, headline, isDigits, isRefused, isSeveral, percent, remark } from "./messages.js";

const MANY = 16; // classes; the rows of more are small

const element = (id) => document.getElementById(id);

/** Make a row for each class; `render` fills them. */
export function setClasses(classes) {
  const rows = classes.map((name) => {
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
    const bar = Object.assign(document.createElement("span"), { className: "bar" });
    const cell = document.createElement("td");
    cell.append(bar, Object.assign(document.createElement("span"), { className: "value" }));
    row.append(head, cell);
    return row;
  });
  element("bars").tBodies[0].replaceChildren(...rows);
  element("panel").classList.toggle("many", classes.length > MANY);
}

/**
 * Show `digits`, null for a blank box, and `rejected` marks; a number can have several. The one at index `selected` is
 * shown in full, and `select(index)` is called when the user picks another one. If there are none, `prompt` is shown. A
 * result is stale while the service cannot read the current drawing.
 */
export function render({ digits, rejected, isNumber, isStale, selected, classes, prompt, select }) {
  const isBlank = digits.every((digit) => digit === null);
  const text = isBlank ? prompt : headline(digits, classes);
  const answer = element("answer");
  answer.textContent = text;
  answer.classList.toggle("prompt", isBlank || isRefused(digits));
  answer.style.setProperty("--length", Math.max(text.length, 1));
  element("remark").textContent = isBlank ? "" : remark(digits, classes, rejected);
  const canBeLine = isSeveral(digits) && isDigits(classes);
  element("remark").hidden = canBeLine; // the button takes its place
  element("as-line").hidden = !canBeLine;
  element("panel").classList.toggle("number", isNumber);
  element("panel").classList.toggle("wide", isNumber || classes.some((name) => name.length > 1));
  element("panel").classList.toggle("stale", isStale);
  renderTiles(isNumber && !isBlank ? digits : [], selected, select);
  renderDigit(digits[selected] ?? null, classes);
}

function renderTiles(digits, selected, select) {
  const tiles = element("tiles");
  while (tiles.children.length > digits.length) tiles.lastChild.remove();
  while (tiles.children.length < digits.length) {
    const index = tiles.children.length;
    const tile = Object.assign(document.createElement("button"), { type: "button" });
    tile.append(Object.assign(new Image(28, 28), { alt: "" }), document.createElement("b"), document.createElement("span"));
    tile.addEventListener("click", () => select(index));
    tiles.append(tile);
  }
  for (const [index, digit] of digits.entries()) {
    const tile = tiles.children[index];
    const [picture, name, share] = tile.children;
    picture.hidden = !digit;
    if (digit) picture.src = digit.seen;
    name.textContent = digit?.reason ? "×" : (digit?.class ?? "");
    share.textContent = digit?.reason ? "no digit" : digit ? percent(digit.confidence) : "blank";
    tile.disabled = !digit;
    tile.ariaPressed = String(index === selected);
  }
}

function renderDigit(digit, classes) {
  const picture = element("seen").querySelector("img");
  picture.hidden = !digit;
  if (digit) picture.src = digit.seen;
  element("bars").classList.toggle("refused", Boolean(digit?.reason));
  for (const [index, row] of [...element("bars").rows].entries()) {
    const share = digit?.probabilities[index] ?? 0;
    row.classList.toggle("best", Boolean(digit) && index === closest(digit));
    row.querySelector(".bar").style.setProperty("--share", share);
    row.querySelector(".value").textContent = digit ? percent(share) : "";
  }
}
