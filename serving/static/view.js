/** What every mode of the page shows: its state, its status line, and what went wrong. */

export const byId = (id) => document.getElementById(id);

/** What went wrong, in words for the one who looks.
 *
 * `status` is that of the server's answer, if it gave one; `waitS` the seconds it asks for.
 */
export class Problem extends Error {
  constructor(what, detail = "", { status = null, waitS = null } = {}) {
    super(what);
    Object.assign(this, { detail, status, waitS });
  }
}

export function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Write a text; one that stands there already is not said again to those who hear the page. */
export function setText(item, text) {
  if (item.textContent !== text) item.textContent = text;
}

export function setState(...names) {
  document.body.className = names.join(" ");
}

export function say(text) {
  byId("status").textContent = text;
}

export function setRatio(width, height) {
  if (width > 0 && height > 0) byId("stage").style.setProperty("--ratio", String(width / height));
}

export function countOf(faces) {
  return faces.length === 1 ? "1 face" : `${faces.length} faces`;
}

/** Show the empty page, with the focus on one of its buttons. */
export function showStart(focusId) {
  setState();
  say("");
  hideProblem();
  byId("start").hidden = false;
  for (const id of ["another", "result"]) byId(id).hidden = true;
  byId(focusId).focus();
}

/** Make room for a picture with boxes: a photo, or the camera. */
export function showStage(isLive) {
  hideProblem();
  byId("start").hidden = true;
  for (const id of ["result", "stage"]) byId(id).hidden = false;
  for (const id of ["video", "controls", "live-note"]) byId(id).hidden = !isLive;
  for (const id of ["photo", "another"]) byId(id).hidden = isLive;
}

/** Show what went wrong; `retry` is called by the button "Try again", which is there only with it. */
export function showProblem(error, retry = null) {
  const known = error instanceof Problem ? error : new Problem("The server does not answer. Is it still running?");
  byId("again").hidden = retry === null;
  byId("again").onclick = retry;
  setText(byId("problem-what"), known.message);
  setText(byId("problem-detail"), known.detail);
  if (!byId("problem").hidden) return;
  byId("problem").hidden = false;
  byId("problem").scrollIntoView({ block: "nearest" });
}

export function hideProblem() {
  byId("problem").hidden = true;
}
