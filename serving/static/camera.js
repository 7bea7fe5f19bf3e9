/** The camera: opened, followed frame by frame, and released. */

import { drawn, jpegOf } from "./canvas.js";
import { Problem } from "./view.js";
import { until } from "./waiting.js";

/** As the camera has it: some browsers would cut a picture to a wanted size. */
const WANTED_SIZE = { width: { ideal: 1280 }, height: { ideal: 720 }, resizeMode: "none" };

/** Longest side of a frame that is sent: that of the square in which the server looks for faces. */
const SENT_SIDE = 640;

export const FRONT = { facingMode: "user" };
const BACK = { facingMode: "environment" };

/** Return whether this browser lets this page ask for a camera: only over https, or on this machine. */
export function mayHaveCamera() {
  return Boolean(navigator.mediaDevices?.getUserMedia);
}

/** Open a camera, and show it in a video; the run's end, whatever its cause, releases it.
 *
 * Throws what `problemOf` words if there is none to use; ends the run so if the camera goes away.
 */
export async function openCamera(wanted, video, run) {
  const constraints = { ...WANTED_SIZE, ...wanted };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: constraints });
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
    if (video.srcObject === stream) video.srcObject = null;
  };
  if (run.signal.aborted) release();
  run.signal.throwIfAborted();
  run.signal.addEventListener("abort", release);
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => run.abort(new Problem("The camera is gone.", GONE_REMEDY)));
  video.srcObject = stream;
  await video.play();
  return new Camera(video, track.getSettings());
}

const GONE_REMEDY = "It was unplugged, switched off, or taken by another program. Connect it, then try again.";

/** Return in words for the one who looks why a camera cannot be opened or followed. */
export function problemOf(error) {
  if (error instanceof Problem) return error;
  const detail = error.message ? ` (${error.message})` : "";
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new Problem(
        "This page may not use the camera.",
        "Allow it in your browser, at the sign beside the address, and in your system's settings; then try again.",
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return new Problem("No camera was found.", "Connect one, then try again; or choose a photo.");
    case "NotReadableError":
    case "AbortError":
      return new Problem(
        "The camera gives no picture.",
        `Another program may be using it. Close that one, then try again.${detail}`,
      );
    default:
      return new Problem("The camera cannot be used.", `${error.name}${detail}`);
  }
}

class Camera {
  #video;
  #settings;
  #next;

  constructor(video, settings) {
    this.#video = video;
    this.#settings = settings;
    this.#next = this.#awaitFrame();
  }

  /** A camera that looks at the one who sits before it is shown as a mirror shows. */
  get isMirrored() {
    return this.#settings.facingMode !== BACK.facingMode;
  }

  /** Wait until there is a frame that was not taken, then take the newest one, drawn and as a JPEG. */
  async take(signal) {
    await until((arrived) => this.#next.then(arrived), signal);
    this.#next = this.#awaitFrame();
    const { videoWidth, videoHeight } = this.#video;
    const takenAt = performance.now();
    const canvas = drawn(this.#video, videoWidth, videoHeight, SENT_SIDE);
    return { canvas, jpeg: await jpegOf(canvas), takenAt };
  }

  #awaitFrame() {
    const video = this.#video;
    return new Promise((arrived) => {
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(arrived);
      else requestAnimationFrame(arrived); // Firefox before 132
    });
  }

  /** Return how to ask for the other camera; null where there is only one. */
  async other() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const ids = devices.filter(({ kind }) => kind === "videoinput").map(({ deviceId }) => deviceId);
    if (ids.length < 2) return null;
    const { facingMode, deviceId } = this.#settings;
    if (facingMode) return facingMode === BACK.facingMode ? FRONT : BACK; // a phone may have many at the back
    return { deviceId: { exact: ids[(ids.indexOf(deviceId) + 1) % ids.length] } };
  }
}
