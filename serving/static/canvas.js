/** Pictures drawn smaller, and written as JPEGs. */

const JPEG_QUALITY = 0.92;

/** Draw a picture with a longest side that is bounded. */
export function drawn(source, width, height, longestSide) {
  const share = Math.min(1, longestSide / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * share));
  canvas.height = Math.max(1, Math.round(height * share));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Write what was drawn as a JPEG; null when this browser cannot. */
export function jpegOf(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}
