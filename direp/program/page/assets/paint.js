// What the player draws: units as cells, synapses of the unit pointed at, the way to rest, and what would be learned.

const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// From one colour to another through the ground, for values from -1 to 1.
function mixed(value, ground = colourOf("--cell")) {
  const strong = value < 0 ? colourOf("--cold") : colourOf("--warm"), share = Math.min(Math.abs(value), 1);
  const parse = (c) => [1, 3, 5].map((k) => parseInt(c.slice(k, k + 2), 16));
  const [a, b] = [parse(ground), parse(strong)];
  return `rgb(${a.map((v, k) => Math.round(v + (b[k] - v) * share)).join(",")})`;
}

// A canvas of so many units of length, as sharp as the screen.
function sheet(canvas, wide, high) {
  const dense = Math.min(devicePixelRatio || 1, 3), width = canvas.clientWidth || wide;
  canvas.width = width * dense;
  canvas.height = (width * high * dense) / wide;
  const pen = canvas.getContext("2d");
  pen.scale((width * dense) / wide, (width * dense) / wide);
  pen.clearRect(0, 0, wide, high);
  return pen;
}

Object.assign(Player.prototype, {
  rateOf(unit) {
    return unit < this.network.inputs ? this.x[unit] : this.network.psi(this.phase.state[unit - this.network.inputs]);
  },

  scales() {
    const { given } = this.data, n = this.network, far = (i, end) => Math.abs((given[end][i] - given.centre[i]) / given.scale[i]);
    this.largestInput ??= Math.max(...given.low.map((_, i) => Math.max(far(i, "low"), far(i, "high"))), 1e-9);
    let rate = 1e-9;
    for (const s of this.phase.state) rate = Math.max(rate, Math.abs(n.psi(s)));
    return { input: this.largestInput, rate: n.bounded ? Math.max(Math.abs(n.neuron.low), Math.abs(n.neuron.high)) : Math.max(rate, 1) };
  },

  paint() {
    this.paintUnits();
    this.paintTrace();
    this.tell();
    this.detail();
    this.lesson();
  },

  paintUnits() {
    const pen = sheet(this.parts.units, this.wide, this.high), largest = this.scales(), { classes } = this.data.given;
    pen.font = "13px system-ui, sans-serif";
    pen.fillStyle = colourOf("--soft");
    for (const { name, x } of this.titles) pen.fillText(name, x, 18);
    this.cells.forEach((cell, unit) => {
      const given = unit < this.network.inputs, rate = this.rateOf(unit);
      pen.fillStyle = mixed(rate / (given ? largest.input : largest.rate));
      pen.fillRect(cell.x, cell.y, cell.size - 1, cell.size - 1);
    });
    const first = this.network.inputs + this.network.hidden, rates = this.network.outputRates(this.phase.state);
    const answer = this.data.given.kind === "classification" && rates.length > 1 ? rates.indexOf(Math.max(...rates)) : -1;
    rates.forEach((rate, o) => {
      const cell = this.cells[first + o], best = o === answer;
      const name = classes.length === rates.length ? classes[o] : this.data.names[first + o];
      pen.fillStyle = colourOf(best ? "--ink" : "--soft");
      pen.font = `${best ? "bold " : ""}13px system-ui, sans-serif`;
      const short = String(name).length > 9 ? `${String(name).slice(0, 8)}…` : name, middle = cell.y + cell.size / 2;
      if (cell.size >= 13 || best) pen.fillText(`${short} ${rate.toFixed(2)}`, cell.x + cell.size + 20, middle + 4);
      // In the look of its line below.
      this.look(pen, o);
      pen.beginPath(); pen.moveTo(cell.x + cell.size + 3, middle); pen.lineTo(cell.x + cell.size + 16, middle); pen.stroke();
      pen.setLineDash([]);
    });
    if (this.chosen !== null) this.paintSynapses(pen);
  },

  paintSynapses(pen) {
    const n = this.network, values = this.learned || n.weight, list = this.incident[this.chosen];
    const strong = [...list].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, MOST_LINES);
    const most = Math.max(...strong.map((k) => Math.abs(values[k])), 1e-12);
    const middle = (unit) => [this.cells[unit].x + this.cells[unit].size / 2, this.cells[unit].y + this.cells[unit].size / 2];
    for (const k of strong) {
      const [x1, y1] = middle(n.source[k]), [x2, y2] = middle(n.target[k]), share = Math.abs(values[k]) / most;
      const out = n.source[k] === this.chosen, bend = out ? -0.12 : 0.12;
      pen.strokeStyle = colourOf(values[k] < 0 ? "--cold" : "--warm");
      pen.globalAlpha = 0.25 + 0.7 * share;
      pen.lineWidth = 0.6 + 2.4 * share;
      pen.setLineDash(out ? [] : [5, 4]);
      pen.beginPath();
      pen.moveTo(x1, y1);
      pen.quadraticCurveTo((x1 + x2) / 2 - bend * (y2 - y1), (y1 + y2) / 2 + bend * (x2 - x1), x2, y2);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    pen.setLineDash([]);
    const { x, y, size } = this.cells[this.chosen];
    pen.strokeStyle = colourOf("--ink");
    pen.lineWidth = 2;
    pen.strokeRect(x - 1, y - 1, size + 1, size + 1);
  },

  // How the line of an output is drawn: eight colours, and dashes for those that come after.
  look(pen, output) {
    pen.strokeStyle = colourOf(`--c${output % 8}`);
    pen.lineWidth = 1.8;
    pen.setLineDash([[], [6, 3], [2, 2]][Math.floor(output / 8) % 3]);
  },

  // Rates of the outputs over time, a phase after the other; below, how fast anything still moves.
  paintTrace() {
    const wide = Math.min(Math.max(this.parts.trace.clientWidth, 320), 520), high = 300, left = 46, right = 8, split = 170;
    const pen = sheet(this.parts.trace, wide, high);
    const spans = this.trace.map(({ points }) => Math.max(points.at(-1).time, 1e-9)), part = (wide - left - right) / this.trace.length;
    const seen = this.trace.flatMap(({ points }) => points), end = (of, one) => seen.reduce((found, p) => of(found, ...p.rates), one);
    const low = end(Math.min, 0), high1 = end(Math.max, 1), fastest = largest(seen.map((p) => p.residual), 1e-8);
    const [least, most] = [-9.5, Math.log10(fastest) + 0.3];
    const y1 = (v) => 22 + (split - 40) * (1 - (v - low) / (high1 - low));
    const y2 = (v) => split + 14 + (high - split - 40) * (1 - (Math.log10(Math.max(v, 1e-9)) - least) / (most - least));
    pen.font = "12px system-ui, sans-serif";
    pen.lineWidth = 1;
    for (const [v, y] of [[low, y1(low)], [high1, y1(high1)], [1e-8, y2(1e-8)], [1e-4, y2(1e-4)], [1, y2(1)]].filter(([, y]) => y > 15)) {
      pen.strokeStyle = colourOf("--line");
      pen.beginPath(); pen.moveTo(left, y); pen.lineTo(wide - right, y); pen.stroke();
      pen.fillStyle = colourOf("--soft");
      pen.textAlign = "right";
      pen.fillText(v !== 0 && v < 0.01 ? v.toExponential(0) : shown(v), left - 5, y + 4);
    }
    pen.textAlign = "left";
    pen.fillText("output rates", left + 2, 12);
    pen.fillText("fastest change of a state, 1/time", left + 2, split + 8);
    this.trace.forEach(({ name, points }, p) => {
      const x = (t) => left + part * p + (part - 6) * (t / spans[p]);
      pen.fillStyle = colourOf("--soft");
      pen.textAlign = "center";
      pen.fillText(`${name}, time ${shown(spans[p])}`, left + part * (p + 0.5), high - 6);
      const line = (of, y) => {
        pen.beginPath();
        points.forEach((point, k) => pen[k ? "lineTo" : "moveTo"](x(point.time), y(of(point))));
        pen.stroke();
      };
      points[0].rates.forEach((_, o) => { this.look(pen, o); line((point) => point.rates[o], y1); });
      pen.setLineDash([]);
      pen.strokeStyle = colourOf("--ink");
      pen.lineWidth = 1.5;
      line((point) => point.residual, y2);
    });
    pen.textAlign = "left";
    const told = this.trace.map(({ name, points }) => `${name} phase: output rates ${points.at(-1).rates.map((r) => r.toFixed(3)).join(", ")}`);
    this.parts.trace.setAttribute("aria-label", told.join("; "));
  },

  tell() {
    const n = this.network, phase = this.phase, { classes, kind } = this.data.given, rates = n.outputRates(phase.state);
    const name = this.nudged.length ? `nudged at β = ${shown(phase.nudge.beta)}` : "free";
    const how = phase.settled ? "settled" : phase.givenUp ? "does not settle here" : "settling";
    let says = `outputs ${rates.map((r) => r.toFixed(3)).join(", ")}`;
    if (kind === "classification" && classes.length) {
      const c = rates.length > 1 ? rates.indexOf(Math.max(...rates)) : Math.round(Math.min(Math.max(rates[0], 0), 1));
      says = `says ${classes[c]}`;
    }
    this.parts.phase.textContent = `${name} phase ${how}: time ${shown(phase.time)}, ${says}, cost ${shown(n.loss(rates, this.y))}`;
    this.parts.phase.dataset.settled = phase.settled;
    this.parts.agrees.textContent = this.agreement();
  },

  // How far this equilibrium is from that of Python, in 64 bits, for inputs as they were.
  apart() {
    if (this.changed || !this.sample.rest || !this.free.settled) return null;
    return Math.max(...this.sample.rest.map((s, j) => Math.abs(s - this.free.state[j])));
  },

  agreement() {
    if (this.changed) return "The input or the target was changed by you.";
    if (!this.sample.rest) return "Python did not settle this sample.";
    return this.apart() === null ? "" : `Python's equilibrium is the same to ${this.apart().toExponential(0)}.`;
  },

  detail() {
    if (this.chosen === null) {
      this.parts.detail.textContent = "Point at a unit, or reach it with the arrow keys, to see its synapses.";
      return;
    }
    const n = this.network, unit = this.chosen, j = unit - n.inputs, { given } = this.data;
    const name = j < 0 ? given.names[unit] : this.data.names[unit];
    const facts = j < 0 ? `clamped at ${shown(this.x[unit])}` : `state ${shown(this.phase.state[j])}, rate ${shown(this.rateOf(unit))}, `
      + `drive ${shown(this.phase.last.drive[j])}, total leak ${shown(n.leak[j])}`;
    this.parts.detail.replaceChildren(html("p", {}, html("b", {}, name), `: ${facts}`), this.table(this.incident[unit]));
  },

  // The strongest of some synapses: weight, and what it would learn.
  table(list) {
    const n = this.network, values = this.learned || n.weight;
    const strong = [...list].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, MOST_ROWS);
    const rows = strong.map((k) => html("tr", {}, html("td", {}, `${this.data.names[n.source[k]]} → ${this.data.names[n.target[k]]}`),
      html("td", {}, shown(n.weight[k])), html("td", {}, this.learned ? shown(this.learned[k]) : "")));
    const head = html("tr", {}, ...["synapse", "weight", "would learn"].map((word) => html("th", { scope: "col" }, word)));
    return html("table", {}, html("thead", {}, head), html("tbody", {}, ...rows));
  },

  lesson() {
    const { learned } = this.parts;
    if (!this.learned) {
      learned.textContent = "Settle and nudge to see what every synapse would learn from this sample.";
      return;
    }
    const all = Array.from(this.learned.keys());
    const up = this.learned.reduce((sum, v) => sum + (v > 0), 0), down = this.learned.reduce((sum, v) => sum + (v < 0), 0);
    learned.replaceChildren(
      html("p", {}, `Of ${all.length.toLocaleString("en")} synapses ${up.toLocaleString("en")} would grow and `
        + `${down.toLocaleString("en")} shrink (per unit of the learning rate). Most would change:`), this.table(all));
  },
});
