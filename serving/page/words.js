/** What the page says about answers and problems. */

import limits from "./limits.js";

const SURE = 0.75; // of the probability; below it the answer is given as a question
const WORTH_NAMING = 0.1;

const ADVICE = {
  more_than_one_line: "There seems to be more than one line. Write the digits next to each other, in one row.",
  too_many_digits: "These are too many digits for one line. Write fewer.",
  animated_picture: "An animated picture cannot be read. Take a still one.",
  damaged_picture: "This picture is damaged. Take another one.",
  not_a_picture: "This is not a picture that can be read. PNG and JPEG always can.",
  picture_size:
    `This picture is too small or too narrow. Its sides need at least ${limits.min_side} pixels, ` +
    `and the longer one at most ${limits.max_aspect} times the shorter one.`,
  body_too_large: "This picture is too large to be sent.",
};

/** "99.8 %". Rounded down, and never 100: nothing is certain. */
export const percent = (share) => `${Math.floor(1000 * Math.min(share, 0.9999)) / 10} %`;

export const isSure = (digit) => digit.confidence >= SURE;

/** "4, 7 or 9": the two or three classes that a digit may be, the likeliest first. */
export function candidates({ probabilities }, classes) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 3);
  const names = order.filter((index, rank) => rank < 2 || probabilities[index] >= WORTH_NAMING).map((index) => classes[index]);
  return `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}

/** The answer in large type; a digit that is not there yet is a dot. */
export function headline(digits) {
  if (digits.length === 1) return digits[0].class + (isSure(digits[0]) ? "" : "?");
  return digits.map((digit) => digit?.class ?? "·").join("");
}

/** The line below it: "99.8 % sure", or between what the model wavers; of several digits only the latter. */
export function remark(digits, classes) {
  const unsure = digits.filter((digit) => digit && !isSure(digit));
  if (unsure.length) return `not sure: ${unsure.map((digit) => candidates(digit, classes)).join("; ")}`;
  return digits.length === 1 ? `${percent(digits[0].confidence)} sure` : "";
}

/** What a screen reader says: digit by digit, so that it is not taken for thousands. */
export function spoken(digits, classes) {
  const names = digits.map((digit) => digit?.class ?? "blank").join(" ");
  return [names, remark(digits, classes)].filter(Boolean).join(", ");
}

/** What to do about a problem. */
export function advice(problem) {
  if (!problem.passes) return ADVICE[problem.code] ?? `The service does not take this: ${problem.message}.`;
  if (!navigator.onLine) return "You are offline. Your drawing is kept and will be read when the connection is back.";
  if (problem.isBusy) return "The service is busy. Your drawing is kept and will be read when its turn comes.";
  return (
    "The service does not answer. Your drawing is kept, and the page tries again by itself. " +
    "If this lasts, check that the service is running."
  );
}
