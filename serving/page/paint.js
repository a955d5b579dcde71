/** Paints a drawing on a canvas: the one on the screen, or the picture that is sent. */

const SENT_HEIGHT = 200; // pixels; the model's image has 28
const MARGIN = 0.1; // pad heights, around what is sent: ink at the very edge would be taken for a photo's dark corner

/** Paint strokes with round ends, as curves through the midpoints between their points. */
export function paintStrokes(context, strokes, colour) {
  context.strokeStyle = colour;
  context.lineCap = context.lineJoin = "round";
  for (const { width, points } of strokes) {
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i++) {
      const [x, y] = points[i];
      const [nextX, nextY] = points[i + 1];
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    context.lineTo(...points.at(-1));
    context.stroke();
  }
}

export function paintPicture(context, image, { left, top, width, height }) {
  context.fillStyle = "white"; // visible where the picture is transparent
  context.fillRect(left, top, width, height);
  context.drawImage(image, left, top, width, height);
}

/** The part of the pad that is sent, in units of the pad's height: the whole pad with a margin, or the picture. */
export function frameOf(drawing, aspect) {
  if (!drawing.picture) return { left: -MARGIN, top: -MARGIN, width: aspect + 2 * MARGIN, height: 1 + 2 * MARGIN };
  const { width, height } = drawing.picture.image;
  const scale = Math.min(aspect / width, 1 / height);
  return {
    left: (aspect - scale * width) / 2,
    top: (1 - scale * height) / 2,
    width: scale * width,
    height: scale * height,
  };
}

/** The PNG that is sent for strokes: black on white, whatever the screen's colours. */
export function fileOf(drawing, aspect) {
  const { left, top, width, height } = frameOf(drawing, aspect);
  const scale = SENT_HEIGHT / height;
  const context = newCanvas(scale * width, scale * height).getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  context.scale(scale, scale);
  context.translate(-left, -top);
  paintStrokes(context, drawing.strokes, "black");
  return toPng(context.canvas);
}

export function newCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width: Math.round(width), height: Math.round(height) });
}

export function toPng(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
