// Values on plots: the pointer, or the arrow keys on a focused plot, tell what lies there.
//
// Lines are read from the drawing itself: the axes' limits stand on the SVG, so that a point's
// place is its value. Bars and dots carry what they say.

const PAIR = /(-?[\d.]+(?:e-?\d+)?) (-?[\d.]+(?:e-?\d+)?)/g;

function frameOf(svg) {
  const frame = svg.querySelector("[id$='-patch_2'] path");
  const corners = [...frame.getAttribute("d").matchAll(PAIR)];
  const [left, bottom] = corners[0].slice(1).map(Number);
  const [right, top] = corners[2].slice(1).map(Number);
  return { left, bottom, right, top };
}

// Limits as they are drawn now: curves.js may have fitted them to the shown runs.
function scalesOf(svg) {
  const { left, bottom, right, top } = frameOf(svg);
  const [x0, x1, y0, y1] = (svg.dataset.fitted || svg.dataset.limits).split(" ").map(Number);
  const log = "log" in svg.dataset;
  const across = (px) => (px - left) / (right - left);
  return {
    frame: { left, bottom, right, top },
    x: (px) => log ? Math.exp(Math.log(x0) + across(px) * Math.log(x1 / x0))
      : x0 + across(px) * (x1 - x0),
    y: (px) => y0 + (px - bottom) / (top - bottom) * (y1 - y0),
  };
}

function linesOf(svg) {
  const names = JSON.parse(svg.dataset.lines || "{}");
  return Object.entries(names).flatMap(([id, name]) => {
    const group = svg.querySelector(`[id$="-${CSS.escape(id)}"]`);
    if (!group || group.style.display === "none" || group.style.visibility === "hidden") return [];
    const path = [...group.querySelectorAll("path")].find((each) => !each.closest("defs"));
    const uses = [...group.querySelectorAll("use")];
    const points = uses.length
      ? uses.map((use) => [Number(use.getAttribute("x")), Number(use.getAttribute("y"))])
      : path ? [...path.getAttribute("d").matchAll(PAIR)].map((m) => [Number(m[1]), Number(m[2])]) : [];
    return points.length ? [{ name, points }] : [];
  });
}

function numberText(value, share) {
  if (share) return `${(100 * value).toFixed(1)} %`;
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(4)));
}

function nearest(points, px) {
  return points.reduce((a, b) => (Math.abs(b[0] - px) < Math.abs(a[0] - px) ? b : a));
}

// What the plot says at a place of its x axis, in the drawing's own units.
function valuesAt(svg, px) {
  const lines = linesOf(svg);
  const scales = scalesOf(svg);
  const at = nearest(lines.flatMap((line) => line.points), px)[0];
  const share = "share" in svg.dataset;
  const whole = /step|images seen/.test(svg.dataset.x);
  const x = scales.x(at);
  const told = lines.flatMap(({ name, points }) => {
    const [own, y] = nearest(points, at);
    return Math.abs(own - at) > 0.6 ? [] : [`${name}: ${numberText(scales.y(y), share)}`];
  });
  const head = `${svg.dataset.x} ${whole ? Math.round(x).toLocaleString("en-US") : numberText(x)}`;
  return { at, text: [head, ...told].join("\n"), frame: scales.frame };
}

function stopsOf(svg) {
  const marks = [...svg.querySelectorAll("[data-told]")]
    .filter((each) => each.style.display !== "none");
  if (marks.length) return marks;
  const all = new Set(linesOf(svg).flatMap((line) => line.points.map(([x]) => x)));
  return [...all].sort((a, b) => a - b);
}

function startValues(figure) {
  const svg = figure.querySelector("svg[data-limits]");
  if (!svg) return;
  const box = element("div", { class: "value hidden", role: "status" });
  figure.append(box);
  let index = -1;

  function hide() {
    box.classList.add("hidden");
    svg.querySelectorAll(".cursor").forEach((each) => each.remove());
    svg.querySelectorAll(".told").forEach((each) => each.classList.remove("told"));
  }

  function place(x, y) {
    const outer = figure.getBoundingClientRect();
    box.classList.remove("hidden");
    const room = outer.width - box.offsetWidth;
    box.style.left = `${Math.max(0, Math.min(x - outer.left + 12, room))}px`;
    box.style.top = `${y - outer.top + 12}px`;
  }

  function tell(stop, y) {
    hide();
    const drawn = svg.getBoundingClientRect();
    if (typeof stop !== "number") {
      box.textContent = stop.dataset.told;
      stop.classList.add("told");
      const { left, bottom } = stop.getBoundingClientRect();
      place(left, bottom);
      return;
    }
    const { at, text, frame } = valuesAt(svg, stop);
    box.textContent = text;
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", "cursor");
    line.setAttribute("d", `M${at} ${frame.bottom}V${frame.top}`);
    svg.append(line);
    const scale = drawn.width / svg.viewBox.baseVal.width;
    place(drawn.left + at * scale, y ?? drawn.top + frame.top * scale);
  }

  svg.addEventListener("pointermove", (event) => {
    const mark = event.target.closest("[data-told]");
    if (mark) { tell(mark); return; }
    if (svg.querySelector("[data-told]") || !linesOf(svg).length) { hide(); return; }
    const drawn = svg.getBoundingClientRect();
    const px = (event.clientX - drawn.left) * svg.viewBox.baseVal.width / drawn.width;
    tell(px, event.clientY);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("focus", () => {
    if (!svg.matches(":focus-visible")) return;
    const stops = stopsOf(svg);
    index = stops.length - 1;
    if (stops.length) tell(stops[index]);
  });
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Escape") hide();
    if (!by) return;
    event.preventDefault();
    const stops = stopsOf(svg);
    index = Math.max(0, Math.min(index + by, stops.length - 1));
    if (stops.length) tell(stops[index]);
  });
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("figure.plot, .multiples figure").forEach(startValues);
});
