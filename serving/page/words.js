/** What the page says about answers and problems. */

const SURE = 0.75; // of the probability; below it the answer is given as a question
const WORTH_NAMING = 0.1;

const ADVICE = {
  more_than_one_line: "There seems to be more than one line. Write the digits next to each other, in one row.",
  too_many_digits: "These are too many digits for one line. Write fewer.",
  animated_picture: "An animated picture cannot be read. Take a still one.",
  damaged_picture: "This picture is damaged. Take another one.",
  not_a_picture: "This is not a picture that can be read. PNG and JPEG always can.",
  picture_size: "This picture is too small, too large or too narrow.",
  body_too_large: "This picture is too large to be sent.",
};

/** "99.8 %". Rounded down: nothing is certain. */
export const percent = (share) => `${Math.floor(1000 * share) / 10} %`;

export const isSure = (digit) => digit.confidence >= SURE;

/** The names of the two or three classes that a digit may be, the likeliest first. */
export function candidates(digit, classes) {
  const order = digit.probabilities.map((_, index) => index).sort((a, b) => digit.probabilities[b] - digit.probabilities[a]);
  const worth = order.slice(0, 3).filter((index, rank) => rank < 2 || digit.probabilities[index] >= WORTH_NAMING);
  return worth.map((index) => classes[index]);
}

/** "not sure: 4, 7 or 9", or how sure the model is. */
export function confidence(digit, classes) {
  if (isSure(digit)) return percent(digit.confidence);
  const names = candidates(digit, classes);
  return `not sure: ${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}

/** The answer in large type; a digit that is not there yet is a dot. */
export function headline(digits) {
  if (digits.length === 1) return digits[0].class + (isSure(digits[0]) ? "" : "?");
  return digits.map((digit) => digit?.class ?? "·").join("");
}

/** The line below it, for several digits: which of them are not sure. */
export function doubts(digits, classes) {
  const unsure = digits.filter((digit) => digit && !isSure(digit));
  return unsure.map((digit) => confidence(digit, classes)).join("; ");
}

/** What a screen reader says: digits one by one, blank boxes by their name. */
export function spoken(digits, classes) {
  const names = digits.map((digit) => digit?.class ?? "blank").join(" ");
  const rest = digits.length === 1 ? confidence(digits[0], classes) : doubts(digits, classes);
  return rest ? `${names}, ${rest}` : names;
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
