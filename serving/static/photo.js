/** A photo on the page, and what the server sees on it. */

import { findFaces } from "./asking.js";
import { marks } from "./drawing.js";
import { byId, countOf, say, setRatio, setState, showProblem, showStage, showStart } from "./view.js";

/** The photo on the page: its file, its address, and how to break off its request. */
const current = { file: null, url: null, request: null };

/** Show a photo and what the server sees on it; breaks off the photo before. */
export async function showPhoto(file) {
  current.request?.abort();
  const request = new AbortController();
  current.request = request;
  place(file);
  try {
    showAnswer(await findFaces(file, request.signal));
  } catch (error) {
    if (current.request === request) showFailure(error);
  }
}

/** Go back to the empty page. */
export function startAnew() {
  leavePhoto();
  showStart("choose");
}

/** Break off what is under way, and forget the photo. */
export function leavePhoto() {
  current.request?.abort();
  current.request = current.file = null;
  replaceUrl(null);
  byId("photo").removeAttribute("src");
}

function place(file) {
  if (current.file !== file) replaceUrl(URL.createObjectURL(file));
  current.file = file;
  setState("is-busy", "has-result");
  showStage(false);
  byId("result").classList.add("is-bare");
  marks.clear();
  byId("photo").alt = "Your photo";
  byId("photo").src = current.url;
  byId("another").focus({ preventScroll: true });
  say("Looking for faces …");
}

function showAnswer(answer) {
  const { faces } = answer;
  setState("has-result", ...(faces.length ? ["has-faces"] : []));
  setRatio(answer.width, answer.height);
  byId("result").classList.toggle("is-bare", faces.length === 0);
  byId("photo").alt = `Your photo; faces marked: ${faces.length}`;
  if (faces.length === 0) {
    say("No face found. A photo where faces are larger, lighter or turned to the camera may help.");
    return;
  }
  byId("count").textContent = countOf(faces);
  marks.show(faces.map((face, index) => ({ ...face, number: index + 1 })), answer);
  say(`${countOf(faces)} found.`);
  byId("count").focus({ preventScroll: true });
}

function showFailure(error) {
  setState("has-result");
  say("");
  showProblem(error, () => showPhoto(current.file));
}

function replaceUrl(url) {
  if (current.url) URL.revokeObjectURL(current.url);
  current.url = url;
}

byId("photo").addEventListener("load", ({ target }) => {
  if (document.body.classList.contains("is-busy")) setRatio(target.naturalWidth, target.naturalHeight);
});
byId("photo").addEventListener("error", () => {
  byId("stage").hidden = true; // this browser cannot show what it was given
});
