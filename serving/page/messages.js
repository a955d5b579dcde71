/** The texts that the page shows for answers and problems. */

import limits from "./limits.js";

const MIN_SURE = 0.75; // probability; below it the answer is shown as a question
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

/** "99.8 %". Rounded down, and never 100: no answer is certain. */
export const percent = (share) => `${Math.floor(1000 * Math.min(share, 0.9999)) / 10} %`;

export const isSure = (digit) => digit.confidence >= MIN_SURE;

const isDigits = (classes) => classes.join("") === "0123456789";

/** What a picture of none of the classes is. */
const none = (classes) => (isDigits(classes) ? "not a digit" : "none of these");

/** The class with the largest probability, whatever the digit score. */
export function closest({ probabilities }, classes) {
  return classes[probabilities.indexOf(Math.max(...probabilities))];
}

/** "4, 7 or 9": the two or three most likely classes, the most likely first. */
export function candidates({ probabilities }, classes) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 3);
  const names = order.filter((index, rank) => rank < 2 || probabilities[index] >= MIN_CANDIDATE).map((index) => classes[index]);
  return `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}

/** The answer in large type, with a dot for each blank box and a cross for what is not a digit. */
export function headline(digits, classes) {
  if (digits.length === 1 && digits[0].reason) return none(classes);
  if (digits.length === 1) return digits[0].class + (isSure(digits[0]) ? "" : "?");
  return digits.map((digit) => (digit?.reason ? "×" : (digit?.class ?? "·"))).join("");
}

/** The line below it: "99.8 % sure", or the candidates for each unsure digit. Empty for several digits, all sure. */
export function remark(digits, classes) {
  if (digits.length === 1 && digits[0].reason) return refusal(digits[0], classes);
  const unsure = digits.filter((digit) => digit && !digit.reason && !isSure(digit));
  if (unsure.length) return `not sure: ${unsure.map((digit) => candidates(digit, classes)).join("; ")}`;
  return digits.length === 1 ? `${percent(digits[0].confidence)} sure` : "";
}

/** What to do about a picture that shows none of the classes. */
function refusal(digit, classes) {
  if (digit.reason === "several_digits" && isDigits(classes)) {
    return "There seem to be several digits. Choose “a line” to read them.";
  }
  return `If it is one, it is most likely ${closest(digit, classes)}. Draw it larger, or with clearer strokes.`;
}

/** The text for screen readers: the digits one by one, so that 2026 is not read as two thousand and twenty-six. */
export function announcement(digits, classes) {
  const names = digits.map((digit) => (digit?.reason ? none(classes) : (digit?.class ?? "blank"))).join(" ");
  return [names, remark(digits, classes)].filter(Boolean).join(", ");
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
