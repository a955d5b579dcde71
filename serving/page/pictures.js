/** Pictures that come from elsewhere: chosen, photographed, dropped or pasted. */

import { asFile, newCanvas } from "./paint.js";

const TAKEN = ["image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif"]; // by the service, as they are
const MOST_BYTES = 2_000_000; // more is made smaller here, so that a phone need not send it
const MOST_PIXELS = 16_000_000;
const LONG_SIDE = 1024; // pixels of what was made smaller

/** Open a file: `image` to be shown, `file` to be sent. Throws an Error with a sentence if it is no picture. */
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
  const isTaken = TAKEN.includes(file.type) && file.size <= MOST_BYTES && image.width * image.height <= MOST_PIXELS;
  return { image, file: isTaken ? file : await smaller(image) };
}

function smaller(image) {
  const scale = Math.min(1, LONG_SIDE / Math.max(image.width, image.height));
  const canvas = newCanvas(scale * image.width, scale * image.height);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
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
