/** Puts the page together: what a person does changes a sheet, a changed sheet is asked about, an answer is shown. */

import { Asker } from "./asker.js";
import { Mode, MODES } from "./mode.js";
import { fileOf, frameOf } from "./paint.js";
import * as panel from "./panel.js";
import * as pictures from "./pictures.js";
import { about } from "./service.js";
import { Voice } from "./voice.js";
import { advice, spoken } from "./words.js";

const element = (id) => document.getElementById(id);
const slider = element("pen").querySelector("input");
const pen = {
  /** Of the strokes to come, in sheet heights. */
  get width() {
    return slider.valueAsNumber / 100;
  },
};
const asker = new Asker();
const voice = new Voice(element("voice"));
const modes = Object.fromEntries(Object.keys(MODES).map((name) => [name, new Mode(name, pen)]));
let mode = modes.one;
let classes = [..."0123456789"];
let complaint = ""; // about a file that is no picture

function show() {
  const { digits, chosen } = mode;
  const isNumber = mode !== modes.one;
  const isStale = asker.trouble !== null && !mode.isBlank;
  const invitation = isStale ? "…" : mode.invitation;
  const choose = (index) => {
    mode.chosen = index;
    show();
  };
  panel.show({ digits, isNumber, isStale, chosen, classes, invitation, choose });
  for (const [index, sheet] of mode.sheets.entries()) {
    if (mode.sheets.length === 1) continue;
    sheet.element.classList.toggle("current", index === chosen);
    sheet.canvas.ariaPressed = String(index === chosen);
  }
  element("undo").disabled = !mode.canUndo;
  element("clear").disabled = mode.isBlank;
  const refusal = mode.sheets.map((sheet) => sheet.refusal).find(Boolean);
  const problem = asker.trouble ?? refusal;
  const words = problem ? advice(problem) : complaint;
  element("notice").textContent = words;
  element("notice").hidden = !words;
  element("panel").ariaBusy = String(asker.isBusy);
  const isBlank = digits.every((digit) => digit === null);
  voice.say(words || (isBlank ? invitation : spoken(digits, classes)));
}

/** Have the service look at a sheet, unless nothing is on it. */
function askAbout(mode, sheet) {
  complaint = "";
  if (sheet.drawing.isBlank) {
    asker.forget(sheet);
    return show();
  }
  let frame;
  asker.ask(sheet, {
    async send() {
      frame = frameOf(sheet.drawing, sheet.aspect);
      const { picture } = sheet.drawing;
      if (picture) return pictures.send(picture, (file) => mode.ask(file));
      return mode.ask(await fileOf(sheet.drawing, sheet.aspect));
    },
    answered(digits) {
      sheet.digits = digits;
      sheet.refusal = null;
      sheet.showBoxes(mode.name === "line" ? digits : [], frame);
      show();
    },
    refused(problem) {
      sheet.digits = [];
      sheet.refusal = problem;
      sheet.showBoxes([]);
      show();
    },
  });
  show();
}

async function take(file, target) {
  const sheet = mode.sheets.find((sheet) => sheet.element.contains(target)) ?? mode.current;
  try {
    sheet.put(await pictures.open(file));
  } catch (error) {
    complaint = error.message;
    show();
  }
}

function enter(name) {
  mode = modes[name];
  element("desk").replaceChildren(mode.element);
  complaint = "";
  show();
}

function introduce(model) {
  element("model").textContent = model.model;
  classes = model.classes;
  panel.name(classes);
  if (classes.join("") !== "0123456789") {
    element("title").textContent = document.title = "What is it?";
    element("modes").hidden = true;
    modes.one.invitation = `Draw one of these: ${classes.join(", ")}`;
    enter("one");
  }
  show();
}

function onKey(event) {
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key === "z";
  if (isUndo) mode.undo();
  else if (event.key === "Delete" || event.key === "Backspace") mode.clear();
  else if (event.key === "[") slider.stepDown();
  else if (event.key === "]") slider.stepUp();
  else return;
  event.preventDefault();
}

for (const mode of Object.values(modes)) {
  mode.addEventListener("change", ({ detail }) => askAbout(mode, detail));
  mode.addEventListener("choose", show);
  mode.addEventListener("model", ({ detail }) => {
    const isNew = detail !== element("model").textContent; // another model has been deployed meanwhile
    if (isNew) asker.ask("model", { send: about, answered: introduce, refused: console.error });
  });
}
asker.addEventListener("state", show);
pictures.listen(take);
element("undo").addEventListener("click", () => mode.undo());
element("clear").addEventListener("click", () => mode.clear());
element("modes").addEventListener("change", ({ target }) => enter(target.value));
addEventListener("keydown", onKey);
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  matchMedia(query).addEventListener("change", () => mode.sheets.forEach((sheet) => sheet.paint()));
}

panel.name(classes);
asker.ask("model", { send: about, answered: introduce, refused: console.error });
enter(element("modes").querySelector(":checked").value);
