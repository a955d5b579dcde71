/** One correction at a time: keep, relabel or reject. Nothing is written before "Save". */

const element = (id) => document.getElementById(id);
const decisions = new Map(); // of names to labels, null for a rejected one; undecided ones are left out
let items = [];
let none = "none"; // the label of what shows no digit
let index = 0;

const nameOf = (label) => (label === none ? "no digit" : label);
const percent = (share) => `${Math.floor(1000 * Math.min(share, 0.9999)) / 10} %`;

async function load() {
  const response = await fetch("corrections.json");
  const content = await response.json();
  if (!response.ok) return showMessage(content.message);
  ({ items, none } = content);
  decisions.clear();
  index = 0;
  element("labels").replaceChildren(...content.labels.map(labelButton));
  if (content.problems.length) showMessage(`Left out, as they cannot be read: ${content.problems.join("; ")}`);
  render();
}

function labelButton(label) {
  const button = Object.assign(document.createElement("button"), { type: "button", value: label });
  button.textContent = nameOf(label);
  button.addEventListener("click", () => decide(label));
  return button;
}

function render() {
  const item = items[index];
  element("progress").textContent = items.length
    ? `${Math.min(index + 1, items.length)} of ${items.length}, ${decisions.size} decided`
    : "Nothing waits.";
  element("card").hidden = !item;
  element("save").disabled = decisions.size === 0;
  element("save").textContent = decisions.size === 1 ? "Save 1 decision" : `Save ${decisions.size} decisions`;
  if (!item) return;
  element("picture").src = `${item.name}/picture.png`;
  element("seen").src = `${item.name}/seen.png`;
  element("box").hidden = !item.box;
  for (const side of ["left", "top", "width", "height"]) {
    element("box").style.setProperty(side, `${100 * (item.box?.[side] ?? 0)}%`);
  }
  const confidence = item.confidence === null ? "" : ` (${percent(item.confidence)})`;
  element("claim").textContent = `Read as ${nameOf(item.answer)}${confidence}; the user says: ${nameOf(item.label)}`;
  element("origin").textContent = `${item.model}, ${item.time.replace("T", " ").replace("Z", " UTC")}`;
  element("kept").hidden = item.kept === null;
  element("kept").textContent = `This image is already kept as ${nameOf(item.kept)}.`;
  element("keep").replaceChildren(`Keep as ${nameOf(item.label)} `, keyName("K"));
  const decided = decisions.get(item.name);
  element("keep").ariaPressed = String(decided === item.label);
  element("reject").ariaPressed = String(decided === null);
  for (const button of element("labels").children) {
    button.ariaPressed = String(button.value === decided);
    button.disabled = button.value === item.label;
  }
  element("back").disabled = index === 0;
  element("next").disabled = index === items.length - 1;
}

const keyName = (key) => Object.assign(document.createElement("kbd"), { textContent: key });

/** Decide on the correction that is shown, null to reject it, and show the next one. */
function decide(label) {
  if (!items[index]) return;
  decisions.set(items[index].name, label);
  move(1);
}

function move(step) {
  index = Math.max(0, Math.min(index + step, items.length - 1));
  render();
}

async function save() {
  if (!decisions.size) return;
  element("save").disabled = true;
  const body = JSON.stringify(Object.fromEntries(decisions));
  const response = await fetch("decisions", { method: "POST", body, headers: { "Content-Type": "application/json" } });
  const content = await response.json();
  if (!response.ok) {
    showMessage(content.message);
    return load();
  }
  const { kept, relabelled, known, rejected } = content;
  const details = [relabelled && `${relabelled} relabelled`, known && `${known} there already`].filter(Boolean);
  const next = kept ? " Next: git add data data.dvc, commit, dvc repro." : "";
  showMessage(`Kept ${kept}${details.length ? ` (${details.join(", ")})` : ""}, rejected ${rejected}.${next}`);
  await load();
}

function showMessage(text) {
  element("message").textContent = text;
  element("message").hidden = false;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (/^[0-9]$/.test(key)) decide(key);
  else if (key === "n") decide(none);
  else if (key === "k" && items[index]) decide(items[index].label);
  else if (key === "x" || key === "delete") decide(null);
  else if (key === "arrowleft") move(-1);
  else if (key === "arrowright") move(1);
  else if (key === "s") save();
  else return;
  event.preventDefault();
}

element("keep").addEventListener("click", () => decide(items[index].label));
element("reject").addEventListener("click", () => decide(null));
element("back").addEventListener("click", () => move(-1));
element("next").addEventListener("click", () => move(1));
element("save").addEventListener("click", save);
addEventListener("keydown", onKey);
load();
