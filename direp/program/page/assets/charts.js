// Figures over epochs: a line a series with its band over seeds, and one epoch at a time under a slider.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = { solid: "none", dashed: "7 4", dotted: "2 3" };
const WIDE = 380, HIGH = 210, LEFT = 52, RIGHT = 10, TOP = 8, BOTTOM = 30;

function element(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function html(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const shown = (v) => (v === null || !Number.isFinite(v) ? "–" : v !== 0 && Math.abs(v) < 1e-3 ? v.toExponential(1)
  : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(3))));

// Round numbers between two ends, at most six.
function ticks(low, high) {
  const rough = (high - low) / 4, size = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= rough) || size;
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) found.push(Number(v.toFixed(12)));
  return found;
}

function scaleOf(panel) {
  const known = panel.series.flatMap((s) => [...s.least, ...s.most]).filter((v) => v !== null);
  const log = panel.log && known.some((v) => v > 0);
  const at = (v) => (log ? Math.log10(Math.max(v, panel.floor)) : v);
  let low = Math.min(...known.map(at)), high = Math.max(...known.map(at));
  if (panel.zero && !log) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  if (!(high > low)) [low, high] = log ? [low - 0.5, high + 0.5] : [low - 0.05 * Math.abs(low || 1), high + 0.05 * Math.abs(high || 1)];
  return { at, low, high, log };
}

class Chart {
  constructor(panel, place) {
    this.panel = panel;
    this.epochs = panel.epochs;
    this.scale = scaleOf(panel);
    const words = panel.series.map((s) => `${s.name} ends at ${shown(s.middle.filter((v) => v !== null).at(-1))}`).join("; ");
    this.svg = element("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${panel.title} over epochs: ${words}` });
    this.axes();
    for (const series of panel.series) this.line(series);
    this.mark = element("line", { class: "mark", y1: TOP, y2: HIGH - BOTTOM });
    this.svg.append(this.mark);
    this.legend = html("ul", { class: "legend" });
    this.values = panel.series.map((series) => {
      const value = html("b");
      this.legend.append(html("li", {}, html("i", { style: `border-top: 3px ${series.style} var(--c${series.colour})` }), `${series.name} `, value));
      return value;
    });
    const caption = html("figcaption", {}, panel.unit ? `${panel.title}, ${panel.unit}` : panel.title);
    place.append(html("figure", { class: "chart" }, caption, this.svg, this.legend));
  }

  x(k) { return LEFT + ((WIDE - LEFT - RIGHT) * k) / Math.max(this.epochs.length - 1, 1); }

  y(v) {
    const { at, low, high } = this.scale;
    return TOP + (HIGH - TOP - BOTTOM) * (1 - (at(v) - low) / (high - low));
  }

  axes() {
    const { low, high, log } = this.scale;
    const rows = log ? ticks(Math.floor(low), Math.ceil(high)).filter(Number.isInteger).map((e) => 10 ** e) : ticks(low, high);
    for (const v of rows.filter((v) => this.y(v) >= TOP - 1 && this.y(v) <= HIGH - BOTTOM + 1)) {
      this.svg.append(element("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: this.y(v), y2: this.y(v) }));
      this.svg.append(element("text", { x: LEFT - 6, y: this.y(v) + 4, "text-anchor": "end" }, shown(v)));
    }
    const last = this.epochs.length - 1;
    for (const k of [...new Set([0, Math.round(last / 2), last])]) {
      const anchor = k === 0 && last ? "start" : k === last && last ? "end" : "middle";
      this.svg.append(element("text", { x: this.x(k), y: HIGH - BOTTOM + 16, "text-anchor": anchor }, this.epochs[k]));
    }
    this.svg.append(element("text", { x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 2, "text-anchor": "middle" }, "epoch"));
  }

  line(series) {
    const points = (values) => values.map((v, k) => (v === null ? null : [this.x(k), this.y(v)])).filter(Boolean);
    const path = (list) => list.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    const colour = `var(--c${series.colour})`;
    if (series.seeds > 1) {
      for (const [one, other, opacity] of [["least", "most", 0.1], ["low", "high", 0.2]]) {
        const area = path([...points(series[one]), ...points(series[other]).reverse()]);
        this.svg.append(element("path", { d: `${area}Z`, fill: colour, "fill-opacity": opacity }));
      }
    }
    const middle = points(series.middle);
    this.svg.append(element("path", { d: path(middle), fill: "none", stroke: colour, "stroke-width": 2,
      "stroke-dasharray": DASHES[series.style] }));
    if (middle.length === 1) this.svg.append(element("circle", { cx: middle[0][0], cy: middle[0][1], r: 3, fill: colour }));
  }

  show(epoch) {
    const k = this.epochs.reduce((best, e, k) => (Math.abs(e - epoch) < Math.abs(this.epochs[best] - epoch) ? k : best), 0);
    for (const end of ["x1", "x2"]) this.mark.setAttribute(end, this.x(k));
    this.panel.series.forEach((series, n) => {
      const spread = series.seeds > 1 ? ` (${shown(series.least[k])} to ${shown(series.most[k])})` : "";
      this.values[n].textContent = shown(series.middle[k]) + spread;
    });
  }
}

function drawCharts(panels, place) {
  if (!panels.length) return;
  const charts = panels.map((panel) => new Chart(panel, place));
  const last = Math.max(...charts.map((chart) => chart.epochs.at(-1)));
  const slider = html("input", { type: "range", min: 1, max: last, value: last }), told = html("output");
  const show = () => {
    told.textContent = `${slider.value} of ${last}`;
    for (const chart of charts) chart.show(Number(slider.value));
  };
  slider.addEventListener("input", show);
  for (const chart of charts) {
    chart.svg.addEventListener("pointermove", (event) => {
      const box = chart.svg.getBoundingClientRect();
      const share = (((event.clientX - box.left) / box.width) * WIDE - LEFT) / (WIDE - LEFT - RIGHT);
      const k = Math.round(Math.min(Math.max(share, 0), 1) * (chart.epochs.length - 1));
      slider.value = chart.epochs[k];
      show();
    });
  }
  place.before(html("p", { class: "slider" }, html("label", {}, "Epoch ", slider), told));
  show();
}
