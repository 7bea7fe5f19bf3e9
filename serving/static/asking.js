/** How the server is asked for the faces of a picture. */

import { drawn, jpegOf } from "./canvas.js";
import { Problem, say } from "./view.js";
import { inTime, pause } from "./waiting.js";

/** Largest file that is sent as it is; a larger one is made smaller here first. */
const MAX_BYTES = 8 * 2 ** 20;
const SMALLER_SIDE = 2560;
const READABLE = ["image/jpeg", "image/png", "image/gif", "image/bmp", "image/tiff", "image/webp"];

/** No passes with dropout, so that the same picture gets the same answer each time. */
const QUERY = "?mc_samples=0";

const NUM_TRIES = 4;
const LONGEST_WAIT_S = 20;
const PHOTO_TIMEOUT_S = 90;

const AWAY = "The face server is away, so no faces can be found just now.";
const AWAY_REMEDY =
  "Whoever runs this page can start the face server, correct FACE_SERVER_URL, or do without it by FACE_PACK.";

/** Send a picture once; throws a Problem if that gives no faces. */
export async function ask(picture, signal) {
  const form = new FormData();
  form.append("image", picture, "photo");
  const response = await fetch(`image${QUERY}`, { method: "POST", body: form, signal });
  const answer = await response.json().catch(() => null);
  signal.throwIfAborted();
  if (response.ok && Array.isArray(answer?.faces)) return answer;
  throw refusalOf(response, answer?.error ?? "");
}

/** Find the faces of a photo; waits and asks again while the server is busy. */
export function findFaces(file, signal) {
  const tooLate = new Problem("The server took too long.");
  return inTime((limited) => askForPhoto(file, limited), PHOTO_TIMEOUT_S, signal, tooLate);
}

async function askForPhoto(file, signal) {
  const isReadable = READABLE.includes(file.type) && file.size <= MAX_BYTES;
  const photo = isReadable ? file : await smaller(file);
  try {
    return await askPatiently(photo, signal);
  } catch (problem) {
    const reduced = problem.status === 413 && photo === file ? await smaller(file) : photo;
    if (reduced === photo) throw problem;
    return await askPatiently(reduced, signal);
  }
}

async function askPatiently(photo, signal) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask(photo, signal);
    } catch (problem) {
      if (problem.status !== 429 || tries === NUM_TRIES) throw problem;
      say(`The server is busy. Trying again in ${problem.waitS} s …`);
      await pause(problem.waitS, signal);
    }
  }
}

/** Draw a photo smaller; returns the file itself when this browser cannot read it. */
async function smaller(file) {
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(file);
    return (await jpegOf(drawn(bitmap, bitmap.width, bitmap.height, SMALLER_SIDE))) ?? file;
  } catch {
    return file;
  } finally {
    bitmap?.close();
  }
}

function refusalOf(response, detail) {
  const { status } = response;
  const asked = Number.parseInt(response.headers.get("Retry-After") ?? "", 10) || 1;
  const facts = { status, waitS: Math.min(Math.max(asked, 1), LONGEST_WAIT_S) };
  switch (status) {
    case 400:
      return new Problem("This file is not a photo that can be read.", detail, facts);
    case 413:
      return new Problem("This photo is too large.", detail, facts);
    case 429:
      return new Problem("The server is busy. Wait a little, then try again.", detail, facts);
    case 502: // of a proxy in front of the server
    case 503:
    case 504:
      return detail.includes("face server")
        ? new Problem(AWAY, `${AWAY_REMEDY} (${detail})`, facts)
        : new Problem("The server cannot answer just now.", detail || `HTTP ${status}`, facts);
    default:
      return new Problem("The server gave no answer that can be shown.", detail || `HTTP ${status}`, facts);
  }
}
