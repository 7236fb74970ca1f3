// A comparison's curves when runs are hidden: their axes fit what is shown.
//
// matplotlib draws every curve for all runs. Here the points of the shown runs are moved to where
// tighter axes would have them, and the ticks are set anew; with all runs shown it is matplotlib's
// drawing again, to the digit.

const POINT = /(-?[\d.]+) (-?[\d.]+)/g;
const POINT_ALONE = /-?[\d.]+ -?[\d.]+/;
const short = (px) => Math.round(px * 1000) / 1000;
const MARGIN = 0.05;      // matplotlib's, on each side
const HEADROOM = 1.06;    // above the highest value, as the plots are drawn

let unit = "steps";
const UNITS = { steps: "training step", images: "images seen", epochs: "epochs" };

// What a step of a run is in the chosen unit; null where it is not known.
function factorOf(run) {
  if (unit === "steps") return 1;
  startCurves.units ??= readData("curves-units") ?? {};
  return startCurves.units[run]?.[unit] ?? null;
}

function startCurves() {
  const curves = [...document.querySelectorAll("svg[data-fits]")].map(readCurve);
  return (shown) => curves.forEach((curve) => fit(curve, shown));
}

function readCurve(svg) {
  const [x0, x1, y0, y1] = svg.dataset.limits.split(" ").map(Number);
  const corners = pointsOf(svg.querySelector("[id$='-patch_2'] path").getAttribute("d"));
  const [left, bottom, right, top] = [...corners[0], ...corners[2]];
  const xOf = (px) => x0 + (px - left) / (right - left) * (x1 - x0);
  const yOf = (px) => y0 + (px - bottom) / (top - bottom) * (y1 - y0);
  const lines = [...svg.querySelectorAll("[id*='-of-']")].map((group) => {
    const paths = [...group.querySelectorAll("path")].filter((each) => !each.closest("defs"))
      .map((path) => {
        const d = path.getAttribute("d");
        return { path, d, between: d.split(POINT_ALONE), at: pointsOf(d) };
      });
    const marks = [...group.querySelectorAll("use")]
      .map((use) => ({ use, at: [Number(use.getAttribute("x")), Number(use.getAttribute("y"))] }));
    const points = [...paths.flatMap(({ d }) => pointsOf(d)), ...marks.map(({ at }) => at)]
      .map(([x, y]) => [xOf(x), yOf(y)]);
    return { run: group.id.split("-of-")[1], group, paths, marks, points };
  });
  const axes = ["x", "y"].map((axis) =>
    [...svg.querySelectorAll(`[id*='-${axis}tick_']`)]);
  return {
    svg, lines, axes, xOf, yOf,
    unit: "steps",
    xLabel: [...svg.querySelectorAll("text")].find((each) => each.textContent.trim() === UNITS.steps),
    whole: true,
    box: { left, right, bottom, top },
    limits: [x0, x1, y0, y1],
    fromZero: "fromZero" in svg.dataset,
    share: "share" in svg.dataset,
    parents: axes.map((ticks) => ticks.length ? ticks[0].parentNode : null),
  };
}

function pointsOf(d) {
  return [...d.matchAll(POINT)].map((found) => [Number(found[1]), Number(found[2])]);
}

function fit(curve, shown) {
  const mine = curve.lines.filter((line) =>
    shown.has(line.run) && line.points.length && factorOf(line.run) !== null);
  const whole = unit === "steps" && (mine.length === 0 || mine.length === curve.lines.length);
  for (const { run, group } of curve.lines) {
    group.style.visibility = factorOf(run) === null ? "hidden" : "";
  }
  const named = unit === curve.unit;
  if (!named) {
    curve.unit = unit;
    curve.svg.dataset.x = UNITS[unit];
    curve.xLabel.textContent = UNITS[unit];
  }
  if (!whole && mine.length === 0) return;
  if (whole && curve.whole) return;
  curve.whole = whole;
  const [x0, x1, y0, y1] = whole ? curve.limits : limitsOf(curve, mine);
  curve.svg.dataset.fitted = [x0, x1, y0, y1].join(" ");
  const { left, right, bottom, top } = curve.box;
  const toX = (px, factor) =>
    left + (curve.xOf(px) * factor - x0) / (x1 - x0) * (right - left);
  const toY = (px) => bottom + (curve.yOf(px) - y0) / (y1 - y0) * (top - bottom);
  for (const { run, group, paths, marks } of whole ? curve.lines : mine) {
    const factor = factorOf(run);
    for (const { path, d, between, at } of paths) {
      path.setAttribute("d", whole ? d : between[0] + at.map(([x, y], n) =>
        `${short(toX(x, factor))} ${short(toY(y))}${between[n + 1]}`).join(""));
    }
    for (const { use, at } of marks) {
      use.setAttribute("x", whole ? at[0] : toX(at[0], factor));
      use.setAttribute("y", whole ? at[1] : toY(at[1]));
    }
  }
  setTicks(curve, 0, whole, x0, x1, (value) => left + (value - x0) / (x1 - x0) * (right - left));
  setTicks(curve, 1, whole, y0, y1, (value) => bottom + (value - y0) / (y1 - y0) * (top - bottom));
}

function limitsOf(curve, lines) {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { run, points } of lines) {
    for (const [steps, y] of points) {
      const x = steps * factorOf(run);
      x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
    }
  }
  const across = (x1 - x0) || Math.abs(x1) || 1;
  const up = (y1 - y0) || Math.abs(y1) || 1;
  return [x0 - MARGIN * across, x1 + MARGIN * across, ...(curve.fromZero
    ? [0, HEADROOM * (Math.max(y1, 0) || 1)] : [y0 - MARGIN * up, y1 + MARGIN * up])];
}

// Ticks at round values, each a copy of one of matplotlib's moved to its place.
function setTicks(curve, axis, whole, low, high, place) {
  const drawn = curve.axes[axis];
  const parent = curve.parents[axis];
  if (!parent) return;
  parent.querySelectorAll("[data-tick]").forEach((each) => each.remove());
  drawn.forEach((each) => { each.style.display = whole ? "" : "none"; });
  if (whole) return;
  const use = drawn[0].querySelector("use");
  const home = Number(use.getAttribute(axis === 0 ? "x" : "y"));
  for (const { value, text } of roundValues(low, high, axis === 1 && curve.share, axis === 0 && unit !== "epochs")) {
    const tick = drawn[0].cloneNode(true);
    const by = place(value) - home;
    tick.querySelectorAll("[id]").forEach((each) => each.removeAttribute("id"));
    tick.querySelectorAll("defs").forEach((each) => each.remove());
    tick.removeAttribute("id");
    // What is clipped is clipped before it is moved, and the ticks lie inside of the axes anyway.
    tick.querySelectorAll("[clip-path]").forEach((each) => each.removeAttribute("clip-path"));
    tick.dataset.tick = value;
    tick.style.display = "";
    tick.setAttribute("transform", axis === 0 ? `translate(${by} 0)` : `translate(0 ${by})`);
    tick.querySelector("text").textContent = text;
    parent.append(tick);
  }
}

function roundValues(low, high, share, wholeNumbers) {
  const raw = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= raw);
  if (wholeNumbers) step = Math.max(1, Math.ceil(step));
  const values = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n += 1) {
    values.push(n * step + 0);  // never -0
  }
  const unit = share ? 100 : 1;
  const digits = Math.max(0, Math.min(8, -Math.floor(Math.log10(step * unit) + 1e-9) +
    (String(step / power) === "2.5" ? 1 : 0)));
  return values.map((value) => ({
    value,
    text: (value * unit).toLocaleString("en-US", {
      minimumFractionDigits: digits, maximumFractionDigits: digits,
    }) + (share ? "%" : ""),
  }));
}
