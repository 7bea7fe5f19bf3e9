/** How fast frames are answered, in words that hold still long enough to be read. */

const NUM_AVERAGED = 20;
const CHANGE_MS = 1000;

/** With a longer delay than this, boxes would lie beside a face that moves. */
const LATE_MS = 250;

export class Pace {
  #drawn = [];
  #delays = [];
  #changedAt = -Infinity;
  text = "";

  get #delay() {
    return this.#delays.reduce((sum, one) => sum + one, 0) / this.#delays.length;
  }

  get isLate() {
    return this.#delay > LATE_MS;
  }

  /** Count a frame that was taken and drawn at these times, in ms. */
  count(takenAt, drawnAt) {
    this.#drawn.push(drawnAt);
    this.#delays.push(drawnAt - takenAt);
    for (const times of [this.#drawn, this.#delays]) if (times.length > NUM_AVERAGED) times.shift();
    if (this.#drawn.length < 2 || drawnAt - this.#changedAt < CHANGE_MS) return;
    const rate = (1000 * (this.#drawn.length - 1)) / (drawnAt - this.#drawn[0]);
    const delay = this.#delay;
    this.#changedAt = drawnAt;
    this.text = `${short(rate)} frames/s · ${delay < 995 ? `${short(delay)} ms` : `${short(delay / 1000)} s`} delay`;
  }
}

function short(value) {
  return value < 9.95 ? value.toFixed(1) : String(Math.round(value));
}
