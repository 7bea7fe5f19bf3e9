/** How sure an answer is: in words of a person, and as a bar of the years that a face may be. */

import { element } from "./view.js";

const GENDERS = { m: "male", f: "female" };

/** Of an age model that has a class for each year, the largest entropy, in nats. */
const NATS_OF_YEARS = Math.log(101);

/** The last year of the bar. */
const LAST_YEAR = 100;

export const UNCOVERED = "This face is unclear. The range was measured on clearer ones, and may not hold.";

/** Word a share in whole percent; only what is certain is 0 or 100. */
function percent(share) {
  const whole = Math.round(100 * share);
  return `${share > 0 && share < 1 ? Math.min(Math.max(whole, 1), 99) : whole} %`;
}

/** Word an age; without a range, with the standard deviation of a bell curve that is as unsure. */
export function yearsOf(face, { max_uncertainty }) {
  const whole = Math.round(face.age);
  const isByYear = Math.abs((max_uncertainty?.age ?? 0) - NATS_OF_YEARS) < 0.01;
  if (!face.age_interval && face.uncertainty && isByYear) {
    const spread = Math.exp(face.uncertainty.age) / Math.sqrt(2 * Math.PI * Math.E);
    return `${whole} ± ${Math.max(1, Math.round(spread))} years`;
  }
  return whole === 1 ? "1 year" : `${whole} years`;
}

/** Word the genders that a face may be; without a set of them, the likelier one and how likely. */
export function genderOf(face) {
  if (face.gender_set) return face.gender_set.map((letter) => GENDERS[letter]).join(" or ");
  const letter = likelierOf(face);
  return `${GENDERS[letter]} ${percent(face.gender[letter])}`;
}

/** The same without a percentage. */
export function shortGenderOf(face) {
  return face.gender_set ? genderOf(face) : GENDERS[likelierOf(face)];
}

function likelierOf({ gender }) {
  return gender.m >= gender.f ? "m" : "f";
}

/** Word the range of ages, with what stands between the years; "" where there is none. */
export function rangeOf({ age_interval }, between) {
  return age_interval ? age_interval.join(between) : "";
}

/** Draw the years from 0 to 100, those that a face may be, and the guess. */
export function barOf(face) {
  const [first, last] = face.age_interval.map(placeOf);
  const words = `${rangeOf(face, " to ")} years`;
  const bar = element("div", "range-bar");
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", `Range of ages, from 0 to ${LAST_YEAR}: ${words}`);
  const [span, point] = [element("span", "span"), element("span", "point")];
  Object.assign(span.style, { left: `min(${first}%, 100% - 0.5rem)`, width: `${last - first}%` });
  point.style.left = `${placeOf(face.age)}%`;
  bar.append(span, point);
  const scale = element("div", "scale");
  scale.setAttribute("aria-hidden", "true");
  scale.append(...[0, LAST_YEAR / 2, LAST_YEAR].map((year) => element("span", "", `${year}`)));
  const range = element("div", "range");
  const label = element("p", "range-words", "probably ");
  label.append(element("strong", "", words));
  range.append(label, bar, scale);
  return range;
}

/** Return where a year is on the bar, in percent. */
function placeOf(year) {
  return (100 * Math.min(Math.max(year, 0), LAST_YEAR)) / LAST_YEAR;
}
