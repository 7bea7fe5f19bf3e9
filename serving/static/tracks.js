/** Which face of one answer is which of the next, so that numbers stay with people and hold still. */

/** That of a box 1.2 times its own width beside the one before, as of a quick head, is just enough. */
const LEAST_LIKENESS = -1.2;

/** How long a face is shown that answers no longer have: a detector misses one now and then. */
const HOLD_MS = 400;

/** Answers that a mean reaches back, about. */
const NUM_AVERAGED = 15;

/** How far the mean has to leave the age that is shown before that changes. */
const AGE_PLAY = 0.75;

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

/** A face that is followed from answer to answer. */
class Track {
  #num = 0;
  #meanAge = 0;
  #meanMale = 0;
  #meanForeign = 0;

  constructor(number) {
    this.number = number;
    this.bbox = this.age = null;
  }

  follow(face, now) {
    const weight = 1 / Math.min(++this.#num, NUM_AVERAGED);
    this.#meanAge += weight * (face.age - this.#meanAge);
    this.#meanMale += weight * (face.gender.m - this.#meanMale);
    this.#meanForeign += weight * ((face.in_distribution === false ? 1 : 0) - this.#meanForeign);
    const before = this.bbox ?? face.bbox;
    const change = 1 - STILL_WEIGHT * overlapOf(before, face.bbox) ** STILL_POWER;
    this.bbox = face.bbox.map((value, side) => before[side] + change * (value - before[side]));
    const isFar = this.age === null || Math.abs(this.#meanAge - this.age) > AGE_PLAY;
    if (isFar) this.age = Math.round(this.#meanAge);
    this.gender = { m: this.#meanMale, f: 1 - this.#meanMale };
    this.in_distribution = this.#meanForeign <= 0.5;
    this.seenAt = now;
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
