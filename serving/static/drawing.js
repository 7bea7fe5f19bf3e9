/** How faces are drawn: boxes on the picture, and cards in the list beside it. */

import { UNCOVERED, barOf, genderOf, rangeOf, shortGenderOf, yearsOf } from "./ranges.js";
import { byId, element, setText } from "./view.js";

const TAG_PIXELS = 24;
const WIDE_PIXELS = 140;
const NARROW_PIXELS = 96;
const TINY_PIXELS = 36;

const FOREIGN_ONE =
  "These numbers cannot be trusted: the vector is not of the network the models were trained on.";
const FOREIGN_ALL =
  "No number here can be trusted: the vectors are not of the network the models were trained on. " +
  "The face server and the models do not fit together.";

const reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)");

/** Word why the numbers of a face, or its range, may be wrong; "" where nothing speaks for it. */
function doubtOf(face) {
  if (face.in_distribution === false) return FOREIGN_ONE;
  return face.covered === false ? UNCOVERED : "";
}

/** A face with a number: its box, and its card, whose button is the box's for the keyboard. */
class FaceMark {
  constructor(number, select) {
    this.number = number;
    this.box = element("button", "box");
    this.box.type = "button";
    this.box.tabIndex = -1;
    this.box.addEventListener("click", () => select(this, "box"));
    this.ageTag = element("span", "age-tag");
    this.rangeTag = element("span", "range-tag");
    this.genderTag = element("span", "gender-tag");
    const tag = element("span", "tag", `${number}`);
    tag.append(this.ageTag, this.rangeTag, this.genderTag);
    this.box.append(tag);
    this.makeCard(select);
    this.setSelected(false);
  }

  makeCard(select) {
    this.card = element("li", "face");
    this.pick = element("button", "pick");
    this.pick.type = "button";
    this.pick.addEventListener("click", () => select(this, "list"));
    this.age = element("span", "age");
    this.gender = element("span", "gender");
    const number = element("span", "number", `${this.number}`);
    number.prepend(element("span", "unseen", "Face "));
    this.pick.append(number, " ", this.age, " ", this.gender);
    this.card.append(this.pick);
  }

  setSelected(isSelected) {
    for (const item of [this.box, this.card]) item.classList.toggle("is-selected", isSelected);
    for (const button of [this.box, this.pick]) button.setAttribute("aria-pressed", String(isSelected));
  }

  /** Write what is known of the face now, without making its box and button anew. */
  update(face, picture) {
    const [years, gender, range] = [yearsOf(face, picture), genderOf(face), rangeOf(face, " to ")];
    const doubt = doubtOf(face);
    const words = [years, range, gender].filter(Boolean).join(", ");
    this.box.setAttribute("aria-label", `Face ${this.number}: ${words}${doubt && `. ${doubt}`}`);
    setText(this.ageTag, ` · ${Math.round(face.age)}`);
    setText(this.rangeTag, range && `, ${rangeOf(face, "-")}`);
    setText(this.genderTag, `, ${shortGenderOf(face)}`);
    setText(this.age, years);
    setText(this.gender, gender);
    this.place(face.bbox, picture);
    for (const item of [this.box, this.card]) {
      item.classList.toggle("is-foreign", face.in_distribution === false);
      item.classList.toggle("is-doubtful", doubt !== "");
    }
    while (this.pick.nextSibling) this.pick.nextSibling.remove();
    if (range) this.card.append(barOf(face));
    if (doubt) this.card.append(element("p", "distrust", doubt));
  }

  place([x1, top, x2, bottom], { width, height, isMirrored = false }) {
    const [left, right] = isMirrored ? [width - x2, width - x1] : [x1, x2];
    this.box.classList.toggle("at-right", (left + right) / 2 > width / 2);
    const [across, down] = [(right - left) / width, (bottom - top) / height];
    const shares = { left: left / width, top: top / height, width: across, height: down };
    for (const [side, share] of Object.entries(shares)) this.box.style[side] = `${100 * share}%`;
  }

  /** Keep the tag inside the picture, off the face where there is room, and short on a narrow box. */
  fitTag(height) {
    const { box } = this;
    const isAtTop = box.offsetTop < TAG_PIXELS;
    const hasRoomBelow = box.offsetTop + box.offsetHeight + TAG_PIXELS < height;
    box.classList.toggle("is-tag-below", isAtTop && hasRoomBelow);
    box.classList.toggle("is-tag-within", isAtTop && !hasRoomBelow);
    box.classList.toggle("is-wide", box.offsetWidth >= WIDE_PIXELS);
    box.classList.toggle("is-narrow", box.offsetWidth < NARROW_PIXELS);
    box.classList.toggle("is-tiny", box.offsetWidth < TINY_PIXELS);
  }
}

/** The faces on the page; one of them is selected, or none. */
class FaceMarks {
  #marks = new Map();
  #selected = null;

  /** Show faces, ordered by their `number`; one that is there already keeps its box and card.
   *
   * `picture` has the width and height that boxes refer to, whether it `isMirrored`, and the
   * largest uncertainty there is.
   */
  show(faces, picture) {
    const numbers = new Set(faces.map((face) => face.number));
    for (const mark of [...this.#marks.values()]) if (!numbers.has(mark.number)) this.#remove(mark);
    for (const face of faces) (this.#marks.get(face.number) ?? this.#add(face.number)).update(face, picture);
    showDistrust(faces);
    this.fitTags();
  }

  clear() {
    this.show([], {});
  }

  fitTags() {
    const height = byId("stage").clientHeight;
    for (const mark of this.#marks.values()) mark.fitTag(height);
  }

  unselect() {
    this.#selected?.setSelected(false);
    this.#selected = null;
  }

  #add(number) {
    const mark = new FaceMark(number, (chosen, from) => this.#select(chosen, from));
    const after = [...this.#marks.values()]
      .filter((other) => other.number > number)
      .reduce((least, other) => (least && least.number < other.number ? least : other), null);
    byId("boxes").insertBefore(mark.box, after?.box ?? null);
    byId("faces").insertBefore(mark.card, after?.card ?? null);
    this.#marks.set(number, mark);
    return mark;
  }

  #remove(mark) {
    if (mark === this.#selected) this.unselect();
    mark.box.remove();
    mark.card.remove();
    this.#marks.delete(mark.number);
  }

  /** Select a face, or none when it was selected; `from` tells where, "box" or "list". */
  #select(mark, from) {
    const wasSelected = mark === this.#selected;
    this.unselect();
    if (wasSelected) return;
    this.#selected = mark;
    mark.setSelected(true);
    const behavior = reducedMotion.matches ? "auto" : "smooth";
    if (from === "box") mark.card.scrollIntoView({ block: "nearest", behavior });
  }
}

function showDistrust(faces) {
  const numForeign = faces.filter((face) => face.in_distribution === false).length;
  const isAll = numForeign === faces.length && numForeign > 1;
  byId("foreign").hidden = !isAll;
  byId("foreign").textContent = isAll ? FOREIGN_ALL : "";
  byId("faces").classList.toggle("is-all-foreign", isAll);
}

export const marks = new FaceMarks();
window.addEventListener("resize", () => marks.fitTags());
