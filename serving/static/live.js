/** The live mode: frames of the camera are sent, and faces drawn, as fast as the server answers.
 *
 * One frame is under way at a time. When its answer is back, the newest frame goes next; those
 * between are dropped. If answers come late, the frame that was answered is shown, and not what the
 * camera sees by then, so that boxes lie on faces. While nobody sees the page, nothing is sent, and
 * the camera is released.
 */

import { ask } from "./asking.js";
import { FRONT, openCamera, problemOf } from "./camera.js";
import { marks } from "./drawing.js";
import { Pace } from "./pace.js";
import { Tracks } from "./tracks.js";
import { byId, countOf, hideProblem, Problem, say, setRatio, setState } from "./view.js";
import { showProblem, showStage, showStart } from "./view.js";
import { inTime, pause } from "./waiting.js";

const FRAME_TIMEOUT_S = 30;
const LONGEST_WAIT_S = 15;
const BUSY = 429;

/** Least time between two things that are said, to those who hear the page. */
const SAY_MS = 4000;

/** Whether live is wanted, of which camera, which is the other one, and what runs now. */
const live = { isOn: false, wanted: FRONT, other: null, run: null };

export function startLive() {
  live.isOn = true;
  if (document.hidden) return;
  begin();
  byId("stop").focus({ preventScroll: true });
}

/** Release the camera, and forget that live was wanted. */
export function leaveLive() {
  live.isOn = false;
  breakOff();
}

function stop() {
  leaveLive();
  showStart("live");
}

function breakOff() {
  live.run?.abort();
  live.run = null;
  clear();
}

function clear() {
  marks.clear();
  byId("frame").replaceChildren();
}

/** Open the camera and follow it until that is broken off, or the camera fails. */
async function begin() {
  breakOff();
  const run = new AbortController();
  live.run = run;
  showStarting();
  try {
    const camera = await openCamera(live.wanted, byId("video"), run);
    live.other = await camera.other();
    run.signal.throwIfAborted();
    showCamera(camera);
    await follow(camera, run.signal);
  } catch (error) {
    if (live.run !== run) return;
    stop();
    showProblem(problemOf(error), startLive);
  }
}

function showStarting() {
  setState("is-busy", "has-result");
  showStage(true);
  byId("result").classList.add("is-bare");
  byId("other-camera").hidden = true;
  byId("pace").textContent = "";
  say("Starting the camera. Your browser may ask whether this page may use it.");
}

function showCamera(camera) {
  byId("other-camera").hidden = live.other === null;
  fitStage();
  byId("stage").classList.toggle("is-mirrored", camera.isMirrored);
  byId("result").classList.remove("is-bare");
  setState("has-result", "is-live");
  say("The camera is on.");
}

function fitStage() {
  setRatio(byId("video").videoWidth, byId("video").videoHeight);
}

async function follow(camera, signal) {
  const [tracks, pace] = [new Tracks(), new Pace()];
  for (let numFailures = 0; ; ) {
    const { canvas, jpeg, takenAt } = await camera.take(signal);
    try {
      const tooLate = new Problem("The server took too long.");
      const answer = await inTime((limited) => ask(jpeg, limited), FRAME_TIMEOUT_S, signal, tooLate);
      pace.count(takenAt, performance.now());
      const { isMirrored } = camera;
      byId("frame").replaceChildren(...(pace.isLate ? [canvas] : []));
      const seen = isMirrored ? [...answer.faces].reverse() : answer.faces; // numbered from left to right
      showAnswer(tracks.follow(seen, performance.now()), { ...answer, isMirrored });
      byId("pace").textContent = pace.text;
      numFailures = 0;
    } catch (problem) {
      signal.throwIfAborted();
      numFailures += 1;
      await pause(showWaiting(problem, numFailures), signal);
    }
  }
}

function showAnswer(faces, picture) {
  const words = faces.length === 0 ? "No face in sight" : countOf(faces);
  hideProblem();
  marks.show(faces, picture);
  byId("count").textContent = words;
  sayNowAndThen(words);
}

const said = { words: "", at: -Infinity };

function sayNowAndThen(words) {
  const now = performance.now();
  if (words === said.words || now - said.at < SAY_MS) return;
  Object.assign(said, { words, at: now });
  say(words);
}

/** Show why nothing is drawn, and return the seconds after which the next frame goes. */
function showWaiting(problem, numFailures) {
  const growing = Math.min(2 ** (numFailures - 1), LONGEST_WAIT_S);
  const seconds = problem.status === BUSY ? problem.waitS : Math.max(growing, problem.waitS ?? 0);
  const cause = problem.status === BUSY ? "The server is busy. " : "";
  clear();
  byId("count").textContent = "";
  byId("pace").textContent = `${cause}Going on in ${seconds} s …`;
  if (cause) hideProblem();
  else showProblem(problem);
  return seconds;
}

/** Follow what can be seen of the page: hidden, the camera is released; shown, it goes on. */
function followVisibility() {
  if (document.hidden) breakOff();
  else if (live.isOn && live.run === null) begin();
}

document.addEventListener("visibilitychange", followVisibility);
window.addEventListener("pageshow", followVisibility);
window.addEventListener("pagehide", breakOff);
byId("stop").addEventListener("click", stop);
byId("other-camera").addEventListener("click", () => {
  live.wanted = live.other;
  begin();
});
byId("video").addEventListener("resize", fitStage); // a phone was turned
