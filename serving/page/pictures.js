/** Pictures that come from elsewhere: chosen, photographed, dropped or pasted. */

import limits from "./limits.js"; // the service's, which answers with them at this address
import { asFile, newCanvas } from "./paint.js";

const MAX_BYTES = Math.min(2_000_000, limits.max_bytes); // more is redrawn smaller, so that a phone need not send it
const LONG_SIDE = 1024; // pixels, of a picture that is redrawn
const FILE_PROBLEMS = ["body_too_large", "damaged_picture", "not_a_picture", "picture_size", "unsupported_media_type"];

/**
 * Open a file: `image` to be shown, `file` to be sent, which is redrawn where the service would refuse it as it is.
 * Throws an Error with a sentence if it is no picture.
 */
export async function open(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
  } catch {
    throw new Error(`${file.name || "This"} is not a picture that can be opened. PNG and JPEG always can.`);
  } finally {
    URL.revokeObjectURL(image.src);
  }
  const maxPixels = limits.max_pixels[file.type] ?? 0;
  const isRedrawn = file.size > MAX_BYTES || image.width * image.height > maxPixels;
  return { image, file: isRedrawn ? await redraw(image) : file, isRedrawn };
}

/**
 * What `predict(file)` answers to the picture's file. A file that is refused for what it is, as one whose name tells
 * another format, is redrawn and sent again.
 */
export async function send(picture, predict) {
  try {
    return await predict(picture.file);
  } catch (problem) {
    if (picture.isRedrawn || !FILE_PROBLEMS.includes(problem.code)) throw problem;
    Object.assign(picture, { file: await redraw(picture.image), isRedrawn: true });
    return predict(picture.file);
  }
}

function redraw(image) {
  const scale = Math.min(1, LONG_SIDE / Math.max(image.width, image.height));
  const canvas = newCanvas(scale * image.width, scale * image.height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return asFile(canvas);
}

/** Call `take(file, element)` for each file that comes in; `element` is what it was dropped on, or null. */
export function listen(take) {
  for (const [button, input] of [["choose", "file"], ["photograph", "camera"]]) {
    const element = document.getElementById(input);
    document.getElementById(button).addEventListener("click", () => element.click());
    element.addEventListener("change", () => {
      if (element.files.length) take(element.files[0], null);
      element.value = ""; // the same file may be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take(event.clipboardData.files[0], null);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragged-over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragged-over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragged-over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0], event.target);
  });
}
