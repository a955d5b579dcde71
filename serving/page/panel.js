/** The answer: in large type, as the picture that the model sees, and as a table of probabilities. */

import { headline, percent, remark } from "./words.js";

const element = (id) => document.getElementById(id);

/** A row for each class, to be filled by `show`. */
export function name(classes) {
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
}

/**
 * Show `digits`, null for a box that is blank; a number can have several. The one at `chosen` is shown in full, and
 * `choose(index)` is called when another one is wanted. Where there is nothing, `invitation` says what to do. An answer
 * is stale while the service cannot be asked about what is drawn now.
 */
export function show({ digits, isNumber, isStale, chosen, classes, invitation, choose }) {
  const isBlank = digits.every((digit) => digit === null);
  const text = isBlank ? invitation : headline(digits);
  const answer = element("answer");
  answer.textContent = text;
  answer.classList.toggle("invitation", isBlank);
  answer.style.setProperty("--length", Math.max(text.length, 1));
  element("note").textContent = isBlank ? "" : remark(digits, classes);
  element("panel").classList.toggle("number", isNumber);
  element("panel").classList.toggle("wide", isNumber || classes.some((name) => name.length > 1));
  element("panel").classList.toggle("stale", isStale);
  showTiles(isNumber && !isBlank ? digits : [], chosen, choose);
  showDigit(digits[chosen] ?? null);
}

function showTiles(digits, chosen, choose) {
  const tiles = element("tiles");
  while (tiles.children.length > digits.length) tiles.lastChild.remove();
  while (tiles.children.length < digits.length) {
    const index = tiles.children.length;
    const tile = Object.assign(document.createElement("button"), { type: "button" });
    tile.append(Object.assign(new Image(28, 28), { alt: "" }), document.createElement("b"), document.createElement("span"));
    tile.addEventListener("click", () => choose(index));
    tiles.append(tile);
  }
  for (const [index, digit] of digits.entries()) {
    const tile = tiles.children[index];
    const [picture, name, share] = tile.children;
    picture.hidden = !digit;
    if (digit) picture.src = digit.seen;
    name.textContent = digit?.class ?? "";
    share.textContent = digit ? percent(digit.confidence) : "blank";
    tile.disabled = !digit;
    tile.ariaPressed = String(index === chosen);
  }
}

function showDigit(digit) {
  const picture = element("seen").querySelector("img");
  picture.hidden = !digit;
  if (digit) picture.src = digit.seen;
  for (const [index, row] of [...element("bars").rows].entries()) {
    const share = digit?.probabilities[index] ?? 0;
    row.classList.toggle("best", share > 0 && share === digit?.confidence);
    row.querySelector(".bar").style.setProperty("--share", share);
    row.querySelector(".value").textContent = digit ? percent(share) : "";
  }
}
