// The player: one input settles and is nudged, step by step; units and synapses tell what they do.

const MOST_LINES = 40, MOST_ROWS = 8, FRAME_STEPS = 1;

// What is far below the largest number is what settling has left over.
function withoutNoise(values) {
  const most = largest(values);
  return values.map((v) => (Math.abs(v) < 1e-7 * most ? 0 : v));
}

class Player {
  constructor(data, place) {
    Object.assign(this, { data, place, network: new Network(data), chosen: null, timer: null });
    this.beta = data.strengths[0];
    this.incident = this.synapsesOfUnits();
    this.build();
    this.take(this.costliest());
  }

  synapsesOfUnits() {
    const lists = this.data.names.map(() => []);
    this.network.source.forEach((i, k) => { lists[i].push(k); lists[this.network.target[k]].push(k); });
    return lists;
  }

  // ---- what is on the page

  build() {
    const find = (name) => this.place.querySelector(`[data-part="${name}"]`);
    this.parts = Object.fromEntries(
      ["sample", "beta", "speed", "settle", "nudge", "step", "reset", "units", "trace", "agrees", "detail",
        "learned", "inputs", "target", "phase"].map((name) => [name, find(name)]));
    this.data.samples.forEach((sample, k) => this.parts.sample.append(html("option", { value: k }, this.nameOf(sample))));
    this.parts.sample.addEventListener("change", () => this.take(Number(this.parts.sample.value)));
    this.parts.beta.value = this.beta;
    this.parts.beta.addEventListener("input", () => { this.beta = Number(this.parts.beta.value) || 0; this.reset(); });
    this.parts.settle.addEventListener("click", () => this.run("free"));
    this.parts.nudge.addEventListener("click", () => this.run("nudged"));
    this.parts.step.addEventListener("click", () => { this.pause(); this.advance(1); this.paint(); });
    this.parts.reset.addEventListener("click", () => this.reset());
    this.layOut();
    this.parts.units.addEventListener("pointermove", (event) => this.point(event));
    this.parts.units.addEventListener("pointerdown", (event) => { this.point(event); this.brush(this.at(event)); });
    this.parts.units.addEventListener("keydown", (event) => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    addEventListener("resize", () => this.paint());
  }

  nameOf(sample) {
    const { classes, kind } = this.data.given;
    const label = kind === "classification" && classes.length
      ? classes[sample.y.length > 1 ? sample.y.indexOf(Math.max(...sample.y)) : Math.round(sample.y[0])] : sample.y.slice(0, 6).map(shown).join(", ") + (sample.y.length > 6 ? ", …" : "");
    return `${sample.name}: target ${label}`;
  }

  // Every unit has a place: groups side by side, each a grid.
  layOut() {
    const { groups, given } = this.data, tall = 260, largest = 26;
    const grids = groups.map(({ name, size }, g) => {
      const columns = g === 0 && given.image ? given.image[1] : g === groups.length - 1 || size <= 8 ? 1 : Math.ceil(Math.sqrt(size));
      const rows = Math.ceil(size / columns);
      return { name, size, columns, rows, cell: Math.min(largest, tall / rows, 220 / columns) };
    });
    const high = Math.max(...grids.map(({ rows, cell }) => rows * cell), 120);
    let left = 16;
    this.cells = [];
    this.titles = [];
    for (const { name, size, columns, rows, cell } of grids) {
      const top = 34 + (high - cell * rows) / 2;
      for (let n = 0; n < size; n++) {
        this.cells.push({ x: left + (n % columns) * cell, y: top + Math.floor(n / columns) * cell, size: cell, columns });
      }
      this.titles.push({ name, x: left });
      left += Math.max(columns * cell, 50) + 60;
    }
    this.wide = left + 54;
    this.high = high + 54;
  }

  // ---- inputs, phases and steps

  // The sample from which most is to be learned.
  costliest() {
    const cost = ({ rest, y }) => (rest ? this.network.loss(this.network.outputRates(Float64Array.from(rest)), y) : -1);
    const costs = this.data.samples.map(cost);
    return costs.indexOf(Math.max(...costs));
  }

  take(k) {
    const sample = this.data.samples[k];
    this.parts.sample.value = k;
    this.sample = sample;
    this.x = [...sample.x];
    this.y = [...sample.y];
    this.changed = false;
    this.editors();
    this.reset();
  }

  editors() {
    const { given } = this.data;
    this.parts.inputs.replaceChildren();
    if (given.image) {
      this.parts.inputs.append(html("p", {}, "Click input pixels to switch them on and off, or go to them with the arrow keys and press Enter."));
    } else {
      this.x.slice(0, 16).forEach((value, i) => {
        const low = given.low[i], high = given.high[i] > low ? given.high[i] : low + 1;
        const slider = html("input", { type: "range", min: low, max: high, step: "any", "aria-label": given.names[i] });
        const own = value * given.scale[i] + given.centre[i], told = html("output", {}, shown(own));
        slider.value = own;
        slider.addEventListener("input", () => {
          told.textContent = shown(Number(slider.value));
          this.setInput(i, (Number(slider.value) - given.centre[i]) / given.scale[i]);
        });
        this.parts.inputs.append(html("label", {}, html("span", {}, given.names[i]), slider, told));
      });
      if (this.x.length > 16) this.parts.inputs.append(html("p", {}, `and ${this.x.length - 16} more inputs, which stay`));
    }
    this.parts.target.replaceChildren();
    const { classes, kind } = given;
    if (kind === "classification" && classes.length) {
      const select = html("select", { "aria-label": "target" }, ...classes.map((name, c) => html("option", { value: c }, name)));
      select.value = this.y.length > 1 ? this.y.indexOf(Math.max(...this.y)) : Math.round(this.y[0]);
      select.addEventListener("change", () => {
        const c = Number(select.value);
        this.y = this.y.length > 1 ? this.y.map((_, o) => Number(o === c)) : [c];
        this.changed = true;
        this.reset();
      });
      this.parts.target.append(html("label", {}, html("span", {}, "Target"), select));
      return;
    }
    this.y.slice(0, 16).forEach((value, o) => {
      const name = `target of ${this.data.names[this.network.inputs + this.network.hidden + o]}, as the network has it`;
      const number = html("input", { type: "number", step: "any", value: Number(value.toPrecision(6)), "aria-label": name });
      number.addEventListener("input", () => {
        this.y[o] = Number(number.value) || 0;
        this.changed = true;
        this.reset();
      });
      this.parts.target.append(html("label", {}, html("span", {}, name), number));
    });
  }

  setInput(i, value) {
    this.x[i] = value;
    this.changed = true;
    this.reset();
  }

  reset() {
    this.pause();
    this.free = new Phase(this.network, this.network.clamp(this.x), this.network.rest());
    this.nudged = [];
    this.learned = null;
    this.trace = [{ name: "free", points: [this.seen(this.free)] }];
    this.paint();
  }

  get phase() { return this.nudged.at(-1) || this.free; }

  get strengths() { return this.data.strengths.length > 1 ? [this.beta, -this.beta] : [this.beta]; }

  seen(phase) { return { time: phase.time, rates: this.network.outputRates(phase.state), residual: phase.residual }; }

  // So many steps, from phase to phase. Says whether there is more to do.
  advance(count, until = "nudged") {
    let more = true;
    for (let n = 0; n < count && more; n++) more = this.once(until);
    const ended = this.nudged.length === this.strengths.length && this.nudged.every((phase) => phase.settled);
    if (ended && !this.learned) this.learned = withoutNoise(updates(this.network, this.x, this.free, this.nudged));
    return more;
  }

  // One step of the present phase; where it has settled, the next phase.
  once(until) {
    const phase = this.phase;
    if (!phase.settled && !phase.givenUp) {
      phase.step();
      const points = this.trace.at(-1).points, keep = Math.ceil(phase.taken / 600);
      if (phase.taken % keep === 0 || phase.settled) points.push(this.seen(phase));
      return true;
    }
    if (until === "free" || this.beta === 0 || phase.givenUp || this.nudged.length === this.strengths.length) return false;
    const nudge = nudgeOf(this.network, this.free, this.strengths[this.nudged.length], this.y);
    this.nudged.push(new Phase(this.network, this.free.clamped, this.free.state, nudge));
    this.trace.push({ name: `β = ${shown(nudge.beta)}`, points: [this.seen(this.phase)] });
    return true;
  }

  run(until) {
    if (this.timer) return this.pause();
    if (this.nudged.length && until === "free") this.reset();
    this.until = until;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const tick = () => {
      const speed = Number(this.parts.speed.value), count = still || speed >= 10 ? 1e5 : FRAME_STEPS * 2 ** speed;
      const more = this.advance(count, until);
      this.paint();
      this.timer = more ? requestAnimationFrame(tick) : null;
      if (!more) this.pause();
    };
    this.timer = requestAnimationFrame(tick);
    this.buttons();
  }

  pause() {
    if (this.timer) cancelAnimationFrame(this.timer);
    this.timer = null;
    this.buttons();
  }

  // For those who only want the end.
  finish() { this.pause(); while (this.advance(1000)) { /* until all phases have settled */ } this.paint(); }

  buttons() {
    this.parts.settle.textContent = this.timer && this.until === "free" ? "Pause" : "Settle";
    this.parts.nudge.textContent = this.timer && this.until === "nudged" ? "Pause" : "Settle and nudge";
  }

  // ---- pointing at units

  at(event) {
    const box = this.parts.units.getBoundingClientRect(), scale = this.wide / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const found = this.cells.findIndex((c) => x >= c.x && x < c.x + c.size && y >= c.y && y < c.y + c.size);
    return found < 0 ? null : found;
  }

  point(event) {
    const unit = this.at(event);
    if (unit !== null && unit !== this.chosen) { this.chosen = unit; this.paint(); }
  }

  // Switches a pixel on or off.
  brush(unit) {
    const { given } = this.data;
    if (unit === null || unit >= this.network.inputs || !given.image) return;
    const ends = [given.low, given.high].map((e) => (Math[e === given.low ? "min" : "max"](...e) - given.centre[unit]) / given.scale[unit]);
    this.setInput(unit, this.x[unit] > (ends[0] + ends[1]) / 2 ? ends[0] : ends[1]);
  }

  key(event) {
    const row = this.chosen === null ? 1 : this.cells[this.chosen].columns, count = this.data.names.length;
    const moves = { ArrowRight: 1, ArrowDown: row, ArrowLeft: -1, ArrowUp: -row };
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.brush(this.chosen); }
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.chosen = this.chosen === null ? 0 : (this.chosen + moves[event.key] + count) % count;
    this.paint();
  }
}
