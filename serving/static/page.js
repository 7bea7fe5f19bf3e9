/** What people do on the page: choose, take, drop or paste a photo, or start the camera. */

import { mayHaveCamera } from "./camera.js";
import { marks } from "./drawing.js";
import { leaveLive, startLive } from "./live.js";
import { leavePhoto, showPhoto, startAnew } from "./photo.js";
import { byId, Problem, showProblem } from "./view.js";

function takeFile(files) {
  if (files.length === 0) return;
  leaveLive();
  const file = [...files].find((one) => one.type.startsWith("image/") || one.type === "");
  if (file) {
    showPhoto(file);
    return;
  }
  startAnew();
  showProblem(new Problem("This is not a photo.", "Choose a JPEG, PNG or WebP picture."));
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
byId("live").hidden = !mayHaveCamera();
byId("live").addEventListener("click", () => {
  leavePhoto();
  startLive();
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
  if (event.key === "Escape") marks.unselect();
});
