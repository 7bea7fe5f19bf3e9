/** Which face of one answer is which of the next, so that numbers stay with people and hold still. */

/** That of a box 1.2 times its own width beside the one before, as of a quick head, is just enough. */
const LEAST_LIKENESS = -1.2;

/** How long a face is shown that answers no longer have: a detector misses one now and then. */
const HOLD_MS = 400;

/** Answers that a mean reaches back, about. */
const NUM_AVERAGED = 15;

/** How far the mean has to leave the year that is shown before that changes. */
const AGE_PLAY = 0.75;

const LETTERS = ["m", "f"];

/** Boxes that hardly move are smoothed, against trembling; those that move are followed. */
const STILL_WEIGHT = 0.6;
const STILL_POWER = 4;

/** Return the area that two boxes share, divided by the area that they cover. */
function overlapOf(one, other) {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  const shared = Math.max(0, width) * Math.max(0, height);
  return shared / (areaOf(one) + areaOf(other) - shared) || 0;
}

function areaOf([left, top, right, bottom]) {
  return (right - left) * (bottom - top);
}

/** Return how well two boxes fit one face: 1 if equal, less with distance and other size. */
function likenessOf(one, other) {
  const [across, down] = [0, 1].map((axis) => (one[axis] + one[axis + 2] - other[axis] - other[axis + 2]) / 2);
  const [size, otherSize] = [one, other].map((box) => Math.sqrt(areaOf(box)));
  const distance = (2 * Math.hypot(across, down)) / (size + otherSize);
  return overlapOf(one, other) - distance - Math.abs(Math.log(size / otherSize));
}

/** The means of some values over about the last answers that have them; null before the first. */
class Means {
  #num = 0;
  values = null;

  add(values) {
    if (!values) return this.values;
    const weight = 1 / Math.min(++this.#num, NUM_AVERAGED);
    this.values = values.map((value, index) => {
      const before = this.values?.[index] ?? 0;
      return before + weight * (value - before);
    });
    return this.values;
  }
}

/** Return the year to show for a mean, that which is shown already if it is near. */
function settled(shown, mean) {
  return shown === undefined || Math.abs(mean - shown) > AGE_PLAY ? Math.round(mean) : shown;
}

/** A face that is followed from answer to answer.
 *
 * Its range is from the mean of the first years to the mean of the last ones; a gender is in its set
 * if it is in those of half of the answers; it is covered, and of the models' network, if most are.
 */
class Track {
  #ages = new Means();
  #males = new Means();
  #foreign = new Means();
  #intervals = new Means();
  #sets = new Means();
  #covered = new Means();

  constructor(number) {
    this.number = number;
    this.bbox = null;
  }

  follow(face, now) {
    this.#followBox(face);
    this.#followRanges(face);
    this.age = settled(this.age, this.#ages.add([face.age])[0]);
    const [male] = this.#males.add([face.gender.m]);
    this.gender = { m: male, f: 1 - male };
    this.in_distribution = this.#foreign.add([Number(face.in_distribution === false)])[0] <= 0.5;
    this.seenAt = now;
  }

  #followRanges({ age_interval, gender_set, covered }) {
    const bounds = this.#intervals.add(age_interval);
    const shares = this.#sets.add(gender_set && LETTERS.map((letter) => Number(gender_set.includes(letter))));
    const share = this.#covered.add(typeof covered === "boolean" ? [Number(covered)] : null);
    this.age_interval = bounds?.map((year, end) => settled(this.age_interval?.[end], year)) ?? null;
    this.gender_set = shares && LETTERS.filter((_, index) => shares[index] >= 0.5);
    this.covered = share && share[0] >= 0.5;
  }

  #followBox(face) {
    const before = this.bbox ?? face.bbox;
    const change = 1 - STILL_WEIGHT * overlapOf(before, face.bbox) ** STILL_POWER;
    this.bbox = face.bbox.map((value, side) => before[side] + change * (value - before[side]));
  }
}

export class Tracks {
  #tracks = [];

  /** Return the faces to show after an answer at `now`, in ms: boxes and means, ordered by number. */
  follow(faces, now) {
    const fresh = new Set(faces);
    const before = new Set(this.#tracks);
    for (const { track, face } of pairsOf(this.#tracks, faces)) {
      if (!before.has(track) || !fresh.has(face)) continue;
      before.delete(track);
      fresh.delete(face);
      track.follow(face, now);
    }
    this.#tracks = this.#tracks.filter((track) => now - track.seenAt <= HOLD_MS);
    for (const face of fresh) this.#begin(face, now);
    return this.#tracks.sort((one, other) => one.number - other.number);
  }

  #begin(face, now) {
    const taken = new Set(this.#tracks.map((track) => track.number));
    let number = 1;
    while (taken.has(number)) number++;
    const track = new Track(number);
    track.follow(face, now);
    this.#tracks.push(track);
  }
}

/** Pair tracks with faces that are alike enough in place and size, the most alike first. */
function pairsOf(tracks, faces) {
  return tracks
    .flatMap((track) => faces.map((face) => ({ track, face, likeness: likenessOf(track.bbox, face.bbox) })))
    .filter(({ likeness }) => likeness >= LEAST_LIKENESS)
    .sort((one, other) => other.likeness - one.likeness);
}
