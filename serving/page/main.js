/** Connects the parts of the page: a change on a pad sends a request, and its answer is shown. */

import { getModel } from "./api.js";
import * as corrections from "./corrections.js";
import { LiveRegion } from "./live_region.js";
import { advice, announcement, isDigits, NOTHING_READ, prompt, title } from "./messages.js";
import { Mode, MODES } from "./mode.js";
import { fileOf, frameOf } from "./paint.js";
import * as pictures from "./pictures.js";
import { RequestQueue } from "./request_queue.js";
import * as panel from "./result_panel.js";

const element = (id) => document.getElementById(id);
const slider = element("pen").querySelector("input");
const pen = {
  /** Of the next stroke, in units of the pad's height. */
  get width() {
    return slider.valueAsNumber / 100;
  },
};
const queue = new RequestQueue();
const liveRegion = new LiveRegion(element("live-region"));
const modes = Object.fromEntries(Object.keys(MODES).map((name) => [name, new Mode(name, pen)]));
let mode = modes.one;
let classes = [..."0123456789"];
let fileError = ""; // the message about a file that could not be opened

function render() {
  const { digits, rejected, selected } = mode;
  const isNumber = mode !== modes.one;
  const isStale = queue.problem !== null && !mode.isBlank;
  const text = isStale ? "…" : mode.isUnread ? NOTHING_READ : mode.prompt;
  const select = (index) => {
    mode.selected = index;
    render();
  };
  panel.render({ digits, rejected, isNumber, isStale, selected, classes, prompt: text, select });
  const index = mode === modes.line ? selected : null;
  corrections.render({ digit: digits[selected] ?? null, file: mode.file, index });
  for (const [index, pad] of mode.pads.entries()) {
    if (mode.pads.length === 1) continue;
    pad.element.classList.toggle("selected", index === selected);
    pad.canvas.ariaPressed = String(index === selected);
  }
  element("undo").disabled = !mode.canUndo;
  element("clear").disabled = mode.isBlank;
  const refusal = mode.pads.map((pad) => pad.refusal).find(Boolean);
  const problem = queue.problem ?? refusal;
  const message = problem ? advice(problem) : fileError;
  element("notice").textContent = message;
  element("notice").hidden = !message;
  element("panel").ariaBusy = String(queue.isBusy);
  const isBlank = digits.every((digit) => digit === null);
  liveRegion.announce(message || (isBlank ? text : announcement(digits, classes, rejected)));
}

/** Queue a request to read a pad, unless it is blank. */
function submit(mode, pad) {
  fileError = "";
  if (pad.drawing.isBlank) {
    queue.cancel(pad);
    return render();
  }
  let frame;
  queue.add(pad, {
    async send() {
      frame = frameOf(pad.drawing, pad.aspect);
      const { picture } = pad.drawing;
      if (picture) return pictures.send(picture, (file) => mode.classify(file));
      return mode.classify(await fileOf(pad.drawing, pad.aspect));
    },
    onAnswer(reading) {
      Object.assign(pad, reading, { refusal: null });
      pad.showBoxes(mode.name === "line" ? pad.digits : [], pad.rejected, frame);
      render();
    },
    onRefusal(problem) {
      Object.assign(pad, { digits: [], rejected: [], isUnread: false, refusal: problem });
      pad.showBoxes([], []);
      render();
    },
  });
  render();
}

/** Put a picture file on the pad that `target` belongs to, else on the current one. */
async function addFile(file, target) {
  const pad = mode.pads.find((pad) => pad.element.contains(target)) ?? mode.current;
  try {
    pad.setPicture(await pictures.open(file));
  } catch (error) {
    fileError = error.message;
    render();
  }
}

function setMode(name) {
  mode = modes[name];
  element("desk").replaceChildren(mode.element);
  fileError = "";
  render();
}

/** Read the drawing of one digit as a line. */
function readAsLine() {
  const radio = element("modes").querySelector("[value=line]");
  radio.checked = true;
  setMode("line");
  mode.pads[0].copy(modes.one.pads[0]);
  radio.focus(); // the button disappears
}

function loadModel() {
  queue.add("model", { send: getModel, onAnswer: setModel, onRefusal: console.error });
}

function setModel(model) {
  element("model").textContent = model.model;
  classes = model.classes;
  panel.setClasses(classes);
  corrections.setClasses(classes);
  element("title").textContent = document.title = title(classes);
  element("modes").hidden = !isDigits(classes);
  modes.one.prompt = prompt(classes);
  if (!isDigits(classes) && mode !== modes.one) setMode("one");
  render();
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
  mode.addEventListener("change", ({ detail }) => submit(mode, detail));
  mode.addEventListener("select", render);
  mode.addEventListener("model", ({ detail }) => {
    if (detail !== element("model").textContent) loadModel(); // another one has been deployed since
  });
}
queue.addEventListener("state", render);
pictures.listen(addFile);
element("undo").addEventListener("click", () => mode.undo());
element("clear").addEventListener("click", () => mode.clear());
element("as-line").addEventListener("click", readAsLine);
element("modes").addEventListener("change", ({ target }) => setMode(target.value));
addEventListener("keydown", onKey);
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  matchMedia(query).addEventListener("change", () => mode.pads.forEach((pad) => pad.paint()));
}

panel.setClasses(classes);
corrections.setClasses(classes);
loadModel();
setMode(element("modes").querySelector(":checked").value);
