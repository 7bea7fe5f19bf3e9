"use strict";

/** Largest file that is sent as it is; a larger one is made smaller here first. */
const MAX_BYTES = 8 * 2 ** 20;
const SMALLER_SIDE = 2560;
const SMALLER_QUALITY = 0.92;
const READABLE = ["image/jpeg", "image/png", "image/gif", "image/bmp", "image/tiff", "image/webp"];

const NUM_TRIES = 4;
const LONGEST_WAIT_S = 20;
const TIMEOUT_S = 90;
const TAG_PIXELS = 24;
const NARROW_PIXELS = 96;

const FOREIGN_ONE =
  "These numbers cannot be trusted: the vector is not of the network the models were trained on.";
const FOREIGN_ALL =
  "No number here can be trusted: the vectors are not of the network the models were trained on. " +
  "The face server and the models do not fit together.";

const AWAY = "The face server is away, so no faces can be found just now.";
const AWAY_REMEDY =
  "Whoever runs this page can start the face server, or correct its address, FACE_SERVER_URL.";

const byId = (id) => document.getElementById(id);
const reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)");

/** The photo on the page: its file, its address, how to break off, which face is selected. */
const current = { file: null, url: null, request: null, selected: null };

/** What went wrong, in words for the one who looks. */
class Problem extends Error {
  constructor(what, detail = "") {
    super(what);
    this.detail = detail;
  }
}

/* Sending */

/** Find the faces of a photo; waits and asks again while the server is busy. */
async function findFaces(file, signal) {
  const isReadable = READABLE.includes(file.type) && file.size <= MAX_BYTES;
  const photo = isReadable ? file : await smaller(file);
  let response = await post(photo, signal);
  if (response.status === 413 && photo === file) {
    const reduced = await smaller(file);
    if (reduced !== file) response = await post(reduced, signal);
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && Array.isArray(answer?.faces)) return answer;
  throw problemOf(response.status, answer?.error ?? "");
}

async function post(photo, signal) {
  const form = new FormData();
  form.append("image", photo, "photo");
  for (let tries = 1; ; tries++) {
    const response = await fetch("image", { method: "POST", body: form, signal });
    if (response.status !== 429 || tries === NUM_TRIES) return response;
    const asked = Number.parseInt(response.headers.get("Retry-After") ?? "1", 10) || 1;
    const seconds = Math.min(Math.max(asked, 1), LONGEST_WAIT_S);
    say(`The server is busy. Trying again in ${seconds} s …`);
    await pause(seconds, signal);
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** Draw a photo smaller, as a JPEG; gives the file itself when this browser cannot read it. */
async function smaller(file) {
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(file);
    const share = Math.min(1, SMALLER_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * share));
    canvas.height = Math.max(1, Math.round(bitmap.height * share));
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const made = await new Promise((resolve) => {
      canvas.toBlob(resolve, "image/jpeg", SMALLER_QUALITY);
    });
    return made ?? file;
  } catch {
    return file;
  } finally {
    bitmap?.close();
  }
}

function problemOf(status, detail) {
  switch (status) {
    case 400:
      return new Problem("This file is not a photo that can be read.", detail);
    case 413:
      return new Problem("This photo is too large.", detail);
    case 429:
      return new Problem("The server is busy. Wait a little, then try again.", detail);
    case 502: // of a proxy in front of the server
    case 503:
    case 504:
      return detail.includes("face server")
        ? new Problem(AWAY, `${AWAY_REMEDY} (${detail})`)
        : new Problem("The server cannot answer just now.", detail || `HTTP ${status}`);
    default:
      return new Problem("The server gave no answer that can be shown.", detail || `HTTP ${status}`);
  }
}

/* The page */

/** Show a photo and what the server sees on it; breaks off the photo before. */
async function show(file) {
  current.request?.abort();
  const request = new AbortController();
  const timer = setTimeout(() => request.abort(new Problem("The server took too long.")), 1000 * TIMEOUT_S);
  current.request = request;
  showPhoto(file);
  try {
    showAnswer(await findFaces(file, request.signal));
  } catch (error) {
    if (current.request === request) showProblem(error);
  } finally {
    clearTimeout(timer);
  }
}

function showPhoto(file) {
  if (current.file !== file) replaceUrl(URL.createObjectURL(file));
  current.file = file;
  current.selected = null;
  setState("is-busy", "has-result");
  byId("start").hidden = true;
  byId("problem").hidden = true;
  byId("another").hidden = false;
  byId("result").hidden = false;
  byId("result").classList.add("is-bare");
  byId("boxes").replaceChildren();
  byId("faces").replaceChildren();
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
  const words = faces.length === 1 ? "1 face" : `${faces.length} faces`;
  byId("count").textContent = words;
  byId("boxes").replaceChildren(...faces.map((face, index) => boxOf(face, index, answer)));
  byId("faces").replaceChildren(...faces.map((face, index) => cardOf(face, index, answer)));
  showDistrust(faces);
  fitTags();
  say(`${words} found.`);
  byId("count").focus({ preventScroll: true });
}

function showDistrust(faces) {
  const numForeign = faces.filter((face) => face.in_distribution === false).length;
  const isAll = numForeign === faces.length && numForeign > 1;
  byId("foreign").hidden = !isAll;
  byId("foreign").textContent = isAll ? FOREIGN_ALL : "";
  byId("faces").classList.toggle("is-all-foreign", isAll);
}

function showProblem(error) {
  const known = error instanceof Problem ? error : new Problem("The server does not answer. Is it still running?");
  setState(...(current.file ? ["has-result"] : []));
  say("");
  byId("again").hidden = current.file === null;
  byId("problem-what").textContent = known.message;
  byId("problem-detail").textContent = known.detail;
  byId("problem").hidden = false;
}

/** Go back to the empty page. */
function startAnew() {
  current.request?.abort();
  current.request = current.file = current.selected = null;
  replaceUrl(null);
  setState();
  say("");
  byId("photo").removeAttribute("src");
  byId("start").hidden = false;
  for (const id of ["problem", "another", "result"]) byId(id).hidden = true;
  byId("choose").focus();
}

function replaceUrl(url) {
  if (current.url) URL.revokeObjectURL(current.url);
  current.url = url;
}

function setState(...names) {
  document.body.className = names.join(" ");
}

function say(text) {
  byId("status").textContent = text;
}

function setRatio(width, height) {
  if (width > 0 && height > 0) byId("stage").style.setProperty("--ratio", String(width / height));
}

/* Boxes and list */

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Word a share in whole percent; only what is certain is 0 or 100. */
function percent(share) {
  const whole = Math.round(100 * share);
  return `${share > 0 && share < 1 ? Math.min(Math.max(whole, 1), 99) : whole} %`;
}

function years(face) {
  const whole = Math.round(face.age);
  return whole === 1 ? "1 year" : `${whole} years`;
}

function genderOf(face) {
  return face.gender.m >= face.gender.f ? ["male", face.gender.m] : ["female", face.gender.f];
}

/** Make the box of a face on the photo; the list has the same button for the keyboard. */
function boxOf(face, index, { width, height }) {
  const [left, top, right, bottom] = face.bbox;
  const [gender, probability] = genderOf(face);
  const box = element("button", "box");
  box.type = "button";
  box.tabIndex = -1;
  box.setAttribute("aria-label", `Face ${index + 1}: ${years(face)}, ${gender} ${percent(probability)}`);
  box.setAttribute("aria-pressed", "false");
  box.classList.toggle("at-right", (left + right) / 2 > width / 2);
  box.classList.toggle("is-foreign", face.in_distribution === false);
  const place = { left: left / width, top: top / height, width: (right - left) / width, height: (bottom - top) / height };
  for (const [side, share] of Object.entries(place)) box.style[side] = `${100 * share}%`;
  const tag = element("span", "tag", `${index + 1}`);
  tag.append(element("span", "more", ` · ${Math.round(face.age)}, ${gender}`));
  box.append(tag);
  box.addEventListener("click", () => select(index, "box"));
  return box;
}

function cardOf(face, index, { max_uncertainty: largest }) {
  const [gender, probability] = genderOf(face);
  const card = element("li", "face");
  const pick = element("button", "pick");
  pick.type = "button";
  pick.setAttribute("aria-pressed", "false");
  const number = element("span", "number", `${index + 1}`);
  number.prepend(element("span", "unseen", "Face "));
  pick.append(number, " ", element("span", "age", years(face)), " ");
  pick.append(element("span", "gender", `${gender} ${percent(probability)}`));
  pick.addEventListener("click", () => select(index, "list"));
  card.append(pick);
  if (face.uncertainty) card.append(barsOf(face.uncertainty, largest));
  if (face.in_distribution === false) {
    card.classList.add("is-foreign");
    card.append(element("p", "distrust", FOREIGN_ONE));
  }
  return card;
}

function barsOf(uncertainty, largest) {
  const bars = element("div", "bars");
  for (const name of ["age", "gender"]) {
    const share = Math.min(Math.max(uncertainty[name] / largest[name], 0), 1);
    const bar = element("div", "bar");
    const fill = element("span", "");
    fill.style.width = `${100 * share}%`;
    bar.append(fill);
    bar.setAttribute("role", "meter");
    bar.setAttribute("aria-label", `Uncertainty of the ${name}`);
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    bar.setAttribute("aria-valuetext", percent(share));
    const label = element("span", "name", `Unsure of ${name}`);
    const value = element("span", "value", percent(share));
    for (const shown of [label, value]) shown.setAttribute("aria-hidden", "true");
    bars.append(label, bar, value);
  }
  return bars;
}

/** Select a face, or none when it was selected; `from` tells where, "box" or "list". */
function select(index, from) {
  current.selected = current.selected === index ? null : index;
  const cards = [...byId("faces").children];
  const boxes = [...byId("boxes").children];
  cards.forEach((card, place) => mark(card, card.querySelector(".pick"), place));
  boxes.forEach((box, place) => mark(box, box, place));
  if (from === "box" && current.selected !== null) {
    const behavior = reducedMotion.matches ? "auto" : "smooth";
    cards[index].scrollIntoView({ block: "nearest", behavior });
  }
}

function mark(item, button, place) {
  item.classList.toggle("is-selected", place === current.selected);
  button.setAttribute("aria-pressed", String(place === current.selected));
}

/** Keep the tags inside the photo, off the faces where there is room, and those of narrow boxes
 * short. */
function fitTags() {
  const height = byId("stage").clientHeight;
  for (const box of byId("boxes").children) {
    const isAtTop = box.offsetTop < TAG_PIXELS;
    const hasRoomBelow = box.offsetTop + box.offsetHeight + TAG_PIXELS < height;
    box.classList.toggle("is-tag-below", isAtTop && hasRoomBelow);
    box.classList.toggle("is-tag-within", isAtTop && !hasRoomBelow);
    box.classList.toggle("is-narrow", box.offsetWidth < NARROW_PIXELS);
  }
}

/* What people do */

function takeFile(files) {
  const file = [...files].find((one) => one.type.startsWith("image/") || one.type === "");
  if (file) show(file);
  else if (files.length > 0) {
    startAnew();
    showProblem(new Problem("This is not a photo.", "Choose a JPEG, PNG or WebP picture."));
  }
}

for (const [button, input] of [["choose", "file"], ["take", "camera"]]) {
  byId(button).addEventListener("click", () => byId(input).click());
  byId(input).addEventListener("change", (event) => {
    const files = [...event.target.files];
    event.target.value = ""; // so that the same photo can be chosen again
    takeFile(files);
  });
}

byId("another").addEventListener("click", startAnew);
byId("again").addEventListener("click", () => show(current.file));
byId("photo").addEventListener("load", ({ target }) => {
  if (document.body.classList.contains("is-busy")) setRatio(target.naturalWidth, target.naturalHeight);
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.documentElement.classList.add("is-over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.documentElement.classList.remove("is-over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.documentElement.classList.remove("is-over");
  takeFile(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) takeFile(event.clipboardData.files);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && current.selected !== null) select(current.selected, "list");
});
window.addEventListener("resize", fitTags);
