// A network of leaky neurons in the page: ds/dt = -L s + phi(W' psi(s) + b), settled and nudged by Euler steps.

// The largest size. Math.max(...values) fails on long arrays: browsers limit the arguments of a call.
const largest = (values, least = 0) => values.reduce((most, v) => Math.max(most, Math.abs(v)), least);

const ACTIVATIONS = {
  "identity": [(s) => s, () => 1],
  "hard-sigmoid": [(s) => Math.min(Math.max(s, 0), 1), (s) => (s > 0 && s < 1 ? 1 : 0)],
  "sigmoid": [(s) => 1 / (1 + Math.exp(-s)), (s) => { const r = 1 / (1 + Math.exp(-s)); return r * (1 - r); }],
  "tanh": [Math.tanh, (s) => 1 - Math.tanh(s) ** 2],
  "relu": [(s) => Math.max(s, 0), (s) => (s > 0 ? 1 : 0)],
  "softplus": [(s) => Math.max(s, 0) + Math.log1p(Math.exp(-Math.abs(s))), (s) => 1 / (1 + Math.exp(-s))],
};

function unpacked(packed) {
  const bytes = Uint8Array.from(atob(packed.bytes), (c) => c.charCodeAt(0)).buffer;
  return { i4: Int32Array, f4: Float32Array, f8: Float64Array }[packed.kind].from(
    new { i4: Int32Array, f4: Float32Array, f8: Float64Array }[packed.kind](bytes));
}

class Network {
  constructor(data) {
    Object.assign(this, { inputs: data.inputs, hidden: data.hidden, outputs: data.outputs, cost: data.cost });
    Object.assign(this, { rule: data.rule, neuron: data.neuron, free: data.hidden + data.outputs });
    for (const name of ["leak", "bias", "source", "target", "weight"]) this[name] = unpacked(data[name]);
    this.feedback = data.feedback ? unpacked(data.feedback) : this.weight;
    this.bounded = this.neuron.low !== null;
    [this.phi, this.phiSlope] = ACTIVATIONS[this.neuron.transfer];
    [this.psi, this.psiSlope] = ACTIVATIONS[this.neuron.rate];
    this.euler = this.largestStep();
  }

  // The longest Euler step in which no unit overshoots what drives it, nudge and way back included.
  largestStep(beta = 0) {
    const load = Float64Array.from(this.leak), gain = this.neuron.gain;
    const back = this.rule === "asymmetric" ? 1 : 0;
    for (let k = 0; k < this.weight.length; k++) {
      if (this.source[k] < this.inputs) continue;
      load[this.target[k] - this.inputs] += (1 + back) * gain * Math.abs(this.weight[k]);
      load[this.source[k] - this.inputs] += back * gain * Math.abs(this.feedback[k]);
    }
    for (let o = this.hidden; o < this.free; o++) load[o] += Math.abs(beta) * this.cost.curvature * gain * gain;
    return 1 / Math.max(...load, 1e-9);
  }

  // The current that inputs send, which does not change while the network settles.
  clamp(x) {
    const drive = Float64Array.from(this.bias);
    for (let k = 0; k < this.weight.length; k++) {
      if (this.source[k] < this.inputs) drive[this.target[k] - this.inputs] += this.weight[k] * x[this.source[k]];
    }
    return drive;
  }

  rest() {
    return new Float64Array(this.free).fill(this.bounded ? Math.min(Math.max(0, this.neuron.low), this.neuron.high) : 0);
  }

  // What each free unit gets along the synapses between free units, or, with `back`, what comes back along them.
  along(sent, strengths, back = false) {
    const got = new Float64Array(this.free);
    for (let k = 0; k < strengths.length; k++) {
      if (this.source[k] < this.inputs) continue;
      const i = this.source[k] - this.inputs, j = this.target[k] - this.inputs;
      if (back) got[i] += strengths[k] * sent[j]; else got[j] += strengths[k] * sent[i];
    }
    return got;
  }

  drive(state, clamped) {
    const drive = this.along(state.map(this.psi), this.weight);
    for (let j = 0; j < this.free; j++) drive[j] += clamped[j];
    return drive;
  }

  outputRates(state) { return Array.from(state.subarray(this.hidden), this.psi); }

  // dC/dr of every output.
  error(rates, y) {
    if (this.cost.name === "squared error") return rates.map((r, o) => r - y[o]);
    const g = this.cost.sharpness, most = Math.max(...rates), power = rates.map((r) => Math.exp(g * (r - most)));
    const sum = power.reduce((a, b) => a + b, 0);
    return power.map((p, o) => g * (p / sum - y[o]));
  }

  loss(rates, y) {
    if (this.cost.name === "squared error") return 0.5 * rates.reduce((sum, r, o) => sum + (y[o] - r) ** 2, 0);
    const g = this.cost.sharpness, most = Math.max(...rates);
    const log = Math.log(rates.reduce((sum, r) => sum + Math.exp(g * (r - most)), 0));
    return -rates.reduce((sum, r, o) => sum + y[o] * (g * (r - most) - log), 0);
  }
}

// One phase of one sample: the free one, or one nudged at `beta` towards `y` from the free state.
class Phase {
  constructor(network, clamped, start, nudge = null) {
    Object.assign(this, { network, clamped, start: Float64Array.from(start), nudge, taken: 0 });
    this.euler = network.largestStep(nudge ? nudge.beta : 0);
    this.begin();
  }

  begin() {
    this.state = Float64Array.from(this.start);
    this.last = this.velocity(this.state);
    this.residual = this.last.residual;
    Object.assign(this, { best: Infinity, time: 0 });
  }

  velocity(state) {
    const n = this.network, drive = n.drive(state, this.clamped), flow = new Float64Array(n.free);
    const error = this.nudge ? n.error(n.outputRates(state), this.nudge.y) : null;
    const corrected = this.nudge && n.rule === "asymmetric";
    if (error && !corrected) for (let o = 0; o < n.outputs; o++) drive[n.hidden + o] -= this.nudge.beta * error[o];
    for (let j = 0; j < n.free; j++) flow[j] = n.phi(drive[j]) - n.leak[j] * state[j];
    if (corrected) {
      for (let o = 0; o < n.outputs; o++) {
        flow[n.hidden + o] -= this.nudge.beta * n.psiSlope(state[n.hidden + o]) * error[o];
      }
      const { psi, phi } = this.nudge.slopes, moved = state.map((s, j) => s - this.nudge.free[j]);
      const back = n.along(moved.map((m, j) => phi[j] * m), n.feedback, true);
      const forth = n.along(moved.map((m, j) => psi[j] * m), n.weight);
      for (let j = 0; j < n.free; j++) flow[j] += psi[j] * back[j] - phi[j] * forth[j];
    }
    let residual = 0;
    for (let j = 0; j < n.free; j++) {
      const held = n.bounded && ((state[j] <= n.neuron.low && flow[j] < 0) || (state[j] >= n.neuron.high && flow[j] > 0));
      if (held) flow[j] = 0;
      residual = Math.max(residual, Math.abs(flow[j]));
    }
    return { flow, drive, residual };
  }

  step() {
    const n = this.network, state = this.state.map((s, j) => s + this.euler * this.last.flow[j]);
    if (n.bounded) for (let j = 0; j < n.free; j++) state[j] = Math.min(Math.max(state[j], n.neuron.low), n.neuron.high);
    this.state = state;
    this.time += this.euler;
    this.taken += 1;
    this.last = this.velocity(state);
    this.residual = this.last.residual;
    this.best = Math.min(this.best, this.residual);
    // Where steps swing instead of settling they become shorter; where they run away it begins again.
    if (!(this.residual < 1e3 * this.best + 1e-6) || (this.taken % 4000 === 0 && !this.settled)) this.euler /= 2;
    if (!Number.isFinite(this.residual)) this.begin();
  }

  get settled() { return this.residual < 1e-9; }

  get givenUp() { return this.taken >= 40000; }
}

// What a nudged phase is begun with: the free state, and slopes there, for a rule that sends deviations back.
function nudgeOf(network, phase, beta, y) {
  const drive = phase.last.drive, psi = phase.state.map(network.psiSlope), phi = drive.map(network.phiSlope);
  return { beta, y, free: Float64Array.from(phase.state), slopes: { psi, phi } };
}

// What each synapse would add to its weight, per unit of learning rate: the negative of the estimated gradient.
function updates(network, x, free, nudged) {
  const n = network, beta = nudged.map((phase) => phase.nudge.beta), s = free.state, u = free.last.drive;
  const change = (of) => {
    const [one, two] = [of(nudged[0]), nudged.length > 1 ? of(nudged[1]) : of(free)];
    return one.map((q, j) => (q - two[j]) / (nudged.length > 1 ? 2 * beta[0] : beta[0]));
  };
  const rates = (phase) => phase.state.map(n.psi), r = rates(free), given = (k) => n.source[k] < n.inputs;
  const moved = change((phase) => phase.state), dr = change(rates), du = change((phase) => phase.last.drive);
  let post = dr, back = dr;
  if (n.rule === "asymmetric" || n.rule === "vector-field") {
    post = moved.map((d, j) => n.phiSlope(u[j]) * d);
    back = moved;
  } else if (n.neuron.transfer !== "identity") {
    const open = (j) => !n.bounded || (s[j] > n.neuron.low && s[j] < n.neuron.high);
    back = du.map((d, j) => (open(j) ? (n.psiSlope(s[j]) * d) / n.leak[j] : 0));
  }
  const kappa = (w) => (w > 0 ? n.neuron.above : w < 0 ? n.neuron.below : (n.neuron.above + n.neuron.below) / 2);
  const pairs = n.rule === "symmetric" ? nudged.map(rates) : null;
  return Float64Array.from(n.weight, (w, k) => {
    const j = n.target[k] - n.inputs;
    if (given(k)) return x[n.source[k]] * post[j];
    const i = n.source[k] - n.inputs;
    if (!pairs) return r[i] * post[j] - kappa(w) * s[i] * back[i];
    const product = (q) => q[i] * q[j], other = pairs.length > 1 ? product(pairs[1]) : product(r);
    const share = (product(pairs[0]) - other) / (pairs.length > 1 ? 2 * beta[0] : beta[0]);
    return share / 2 - (kappa(w) * (s[i] * back[i] + s[j] * back[j])) / 2;
  });
}
