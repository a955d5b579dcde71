/** The texts that the page shows for answers and problems. */

import limits from "./limits.js";

const MIN_SURE = 0.75; // probability; below it the answer is shown as a question
const MAX_NAMED = 12; // classes; more names would be a paragraph
const MIN_CANDIDATE = 0.1; // probability; below it a third candidate is left out

const ADVICE = {
  more_than_one_line: "There seems to be more than one line. Write the digits next to each other, in one row.",
  too_many_digits: "Too many digits for one line. Write fewer.",
  animated_picture: "Animated pictures cannot be read. Use a still one.",
  damaged_picture: "This file is damaged. Use another one.",
  not_a_picture: "This file cannot be read as a picture. Use a PNG or a JPEG.",
  picture_size:
    `This picture is too small or too narrow. Both sides must have at least ${limits.min_side} pixels, ` +
    `and the longer one must be at most ${limits.max_aspect} times the shorter one.`,
  body_too_large: "This picture is too large to send.",
};

/** What shows no digit, as a label. */
export const NO_DIGIT = "no digit";

/** Why a correction was not stored. */
export function correctionProblem(problem) {
  if (problem.code === "too_many_corrections") return "Not stored: too many corrections at once. Try again in a minute.";
  if (problem.code === "corrections_full") return "Not stored: no more are taken until those that wait are reviewed.";
  return `Not stored: ${problem.isTemporary ? "the service does not respond. Try again." : `${problem.message}.`}`;
}

/** In place of the prompt, for a line in which no digit was found. */
export const NOTHING_READ = "Nothing here looks like a digit";

/** "99.8 %". Rounded down, and never 100: no answer is certain. */
export const percent = (share) => `${Math.floor(1000 * Math.min(share, 0.9999)) / 10} %`;

export const isSure = (digit) => digit.confidence >= MIN_SURE;

export const isDigits = (classes) => classes.join("") === "0123456789";

/** What the classes are: "digit", "letter", "character" if they are digits and letters, else "item". */
export function noun(classes) {
  if (isDigits(classes)) return "digit";
  if (classes.every((name) => /^\p{L}$/u.test(name))) return "letter";
  return classes.every((name) => /^[\p{L}\p{N}]$/u.test(name)) ? "character" : "item";
}

/** The title of the page. */
export const title = (classes) => (noun(classes) === "item" ? "What is it?" : `Handwritten ${noun(classes)}s`);

/** What to draw: the classes by their names if they are few. The others are those of the table. */
export function prompt(classes) {
  if (isDigits(classes)) return "Draw a digit";
  if (classes.length <= MAX_NAMED) return `Draw one of these: ${classes.join(", ")}`;
  return noun(classes) === "item" ? "Draw one of the things that are listed here" : `Draw a ${noun(classes)}`;
}

/** Whether the drawing is one picture of several digits, or of several other things. */
export const isSeveral = (digits) => digits.length === 1 && digits[0]?.reason === "several_digits";

/** The index of the class with the largest probability, also of what shows none of them. */
export const closest = ({ probabilities }) => probabilities.indexOf(Math.max(...probabilities));

/** "4, 7 or 9": the two or three most likely classes, the most likely first; "4 or no digit" if only that is in doubt. */
export function candidates({ probabilities, class: name }, classes) {
  if (Math.max(...probabilities) >= MIN_SURE) return `${name} or ${isDigits(classes) ? "no digit" : "none of these"}`;
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 3);
  const names = order.filter((index, rank) => rank < 2 || probabilities[index] >= MIN_CANDIDATE).map((index) => classes[index]);
  return `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}

/** Whether the answer is one picture that shows none of the classes. */
export const isRefused = (digits) => digits.length === 1 && Boolean(digits[0]?.reason);

/** The answer in large type, or a sentence for what is not a digit; of several, a dot is a blank box, a cross no digit. */
export function headline(digits, classes) {
  if (isSeveral(digits)) return isDigits(classes) ? "Several digits?" : "More than one?";
  if (isRefused(digits)) return `This does not look like ${isDigits(classes) ? "a digit" : "any of these"}`;
  if (digits.length === 1) return digits[0].class + (isSure(digits[0]) ? "" : "?");
  return digits.map((digit) => (digit?.reason ? "×" : (digit?.class ?? "·"))).join("");
}

/**
 * The line below it: "99.8 % sure", the candidates for each unsure digit, the class that is closest to what is none,
 * and how many marks of a line were left out. Empty for several digits, all sure.
 */
export function remark(digits, classes, rejected = []) {
  if (isSeveral(digits)) return isDigits(classes) ? "" : "draw one at a time";
  if (isRefused(digits)) {
    const index = closest(digits[0]);
    return `closest ${classes[index]}, ${Math.floor(100 * digits[0].probabilities[index])}\u00a0%`;
  }
  const parts = [];
  const unsure = digits.filter((digit) => digit && !digit.reason && !isSure(digit));
  if (unsure.length) parts.push(`not sure: ${unsure.map((digit) => candidates(digit, classes)).join("; ")}`);
  else if (digits.length === 1) parts.push(`${percent(digits[0].confidence)} sure`);
  if (digits.some((digit) => digit?.reason)) parts.push("×: does not look like a digit");
  if (rejected.length) parts.push(`left out: ${rejected.length} ${rejected.length === 1 ? "mark" : "marks"}, not a digit`);
  return parts.join("; ");
}

/** The text for screen readers: the digits one by one, so that 2026 is not read as two thousand and twenty-six. */
export function announcement(digits, classes, rejected) {
  if (isSeveral(digits) && isDigits(classes)) return "There seem to be several digits. They can be read as a line.";
  if (isSeveral(digits)) return "There seems to be more than one. Draw one at a time.";
  if (isRefused(digits)) return `${headline(digits, classes)}, ${remark(digits, classes)}`;
  const names = digits.map((digit) => (digit?.reason ? "unknown" : (digit?.class ?? "blank"))).join(" ");
  return [names, remark(digits, classes, rejected).replace("×", "unknown")].filter(Boolean).join(", ");
}

/** What to do about a problem. */
export function advice(problem) {
  if (!problem.isTemporary) return ADVICE[problem.code] ?? `The service rejected this: ${problem.message}.`;
  if (!navigator.onLine) return "You are offline. Your drawing is kept and will be read when the connection is back.";
  if (problem.isBusy) return "The service is busy. Your drawing is kept and will be read as soon as possible.";
  return (
    "The service is not responding. Your drawing is kept, and the page tries again automatically. " +
    "If this continues, check that the service is running."
  );
}
