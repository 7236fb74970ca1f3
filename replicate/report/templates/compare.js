// The comparison: which runs are shown, their colours, and one image under each of them.

const COLOURS = 8;
const isShown = {};
let fitCurves = () => {};

function runRows() {
  return [...document.querySelectorAll("#runs-table tbody tr[data-run]")];
}

function shownRuns() {
  return runRows()
    .filter((row) => !row.classList.contains("hidden") && row.querySelector("input").checked)
    .map((row) => row.dataset.run);
}

// What belongs to each run, looked up once: lines and dots of the plots, rows and cells.
let ofRuns = null;
function ofRun(run) {
  if (!ofRuns) {
    ofRuns = new Map();
    const add = (key, part, item) => {
      if (!ofRuns.has(key)) ofRuns.set(key, { drawn: [], cells: [], rows: [] });
      ofRuns.get(key)[part].push(item);
    };
    for (const item of document.querySelectorAll("svg [id*='-of-r']")) {
      const key = item.id.match(/-of-(r\d+)(-name)?$/)?.[1];
      if (key) add(key, "drawn", item);
    }
    for (const item of document.querySelectorAll("[data-of]")) add(item.dataset.of, "cells", item);
    for (const row of runRows()) add(row.dataset.run, "rows", row);
  }
  return ofRuns.get(run) ?? { drawn: [], cells: [], rows: [] };
}

// Colours are set on what has them: a variable of the whole page would style all of it anew.
function giveColour(run, colour) {
  const { drawn, cells, rows } = ofRun(run);
  for (const item of [...drawn, ...cells, ...rows]) item.style.setProperty(`--run-${run}`, colour);
}

function colourOfRun(run) {
  return isShown[run] && colourOf[run] ? `var(--s${colourOf[run]})` : "var(--muted)";
}

// A shown run keeps its colour, whatever is hidden or shown beside it. A hidden run's may go to a
// shown one that had none; when it is shown again it gets its own back if that is free.
const colourOf = {};
const given = {};

function colourRuns() {
  const shown = new Set(shownRuns());
  const order = runRows().map((row) => row.dataset.run)
    .sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
  const last = { ...colourOf };
  const taken = new Set();
  const keep = (run, colour) => { colourOf[run] = colour; taken.add(colour); };
  for (const run of order) if (shown.has(run) && isShown[run] && last[run]) keep(run, last[run]);
  for (const run of order) {
    if (!shown.has(run) || (isShown[run] && last[run])) continue;
    const free = Array.from({ length: COLOURS }, (_, number) => number + 1)
      .filter((colour) => !taken.has(colour));
    if (last[run] && free.includes(last[run])) keep(run, last[run]);
    else if (free.length) keep(run, free[0]);
    else delete colourOf[run];
  }
  for (const run of order) {
    const before = isShown[run];
    isShown[run] = shown.has(run);
    const colour = colourOfRun(run);
    if (given[run] !== colour) giveColour(run, given[run] = colour);
    if (before === isShown[run]) continue;
    const { drawn, cells } = ofRun(run);
    for (const item of cells) item.classList.toggle("hidden", !isShown[run]);
    for (const item of drawn) item.style.display = isShown[run] ? "" : "none";
  }
  // The table answers at once; the curves' axes follow when it has been drawn.
  clearTimeout(colourRuns.later);
  if (colourRuns.begun) colourRuns.later = setTimeout(() => fitCurves(shown));
  else fitCurves(shown);
  colourRuns.begun = true;
}

function startRuns(changed) {
  const heads = [...byId("runs-table").tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const metric = byId("runs-metric");
  const columns = [...metric.options].map((option) => heads.indexOf(option.textContent.trim()));
  const percents = (name) => /^(AP|AR|F1)/.test(name);
  const all = [...byId("runs-table").tBodies[0].rows];

  function bound(id) {
    const text = byId(id).value;
    if (text === "") return null;
    return percents(metric.value) ? Number(text) / 100 : Number(text);
  }

  const texts = new Map(all.map((row) => [row, row.textContent.toLowerCase()]));

  function apply() {
    const words = byId("runs-words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [least, most] = [bound("runs-least"), bound("runs-most")];
    const column = columns[metric.selectedIndex];
    let count = 0;
    for (const row of all) {
      const text = texts.get(row);
      const value = cellValue(row, column);
      const within = (least === null || (value !== null && value >= least)) &&
        (most === null || (value !== null && value <= most));
      const fits = within && words.every((word) => text.includes(word));
      row.classList.toggle("hidden", !fits);
      count += fits ? 1 : 0;
    }
    byId("runs-count").textContent = `${count} of ${all.length} shown`;
    refresh();
  }

  function refresh() { colourRuns(); changed(); }

  for (const id of ["runs-words", "runs-metric", "runs-least", "runs-most"]) {
    onSet(byId(id), apply);
  }
  runRows().forEach((row) => onSet(row.querySelector("input"), refresh));
  byId("runs-all").addEventListener("click", () => {
    for (const id of ["runs-words", "runs-least", "runs-most"]) byId(id).value = "";
    runRows().forEach((row) => { row.querySelector("input").checked = true; });
    apply();
  });
  apply();
}

function startComparedImages() {
  const data = readData("gallery-data");
  if (!data) return () => {};
  const pictures = readData("gallery-pictures");
  const names = readData("gallery-names");
  const control = (name) => byId(`gallery-${name}`);
  const steps = [...new Set(data.images.flatMap((image) =>
    Object.values(image.detections).flatMap((found) => Object.keys(found)))
    .filter((step) => step !== "").map(Number))].sort((a, b) => a - b);
  const slider = control("step");
  slider.min = 0;
  slider.max = Math.max(0, steps.length - 1);
  slider.value = slider.max;
  slider.disabled = steps.length < 2;
  slider.closest("label").classList.toggle("hidden", steps.length === 0);
  let made = [];

  // The run's last checkpoint that is not after the chosen step; a benchmark has but one.
  function stepOf(found, upTo) {
    const own = Object.keys(found).filter((step) => step === "" || Number(step) <= upTo);
    return own.length ? own.reduce((a, b) => (Number(a) > Number(b) ? a : b)) : null;
  }

  // The cards of an image are kept while their runs are hidden, and drawn anew where the view
  // has changed since.
  const kept = new Map();
  let seen = 0;

  const view = () => ({
    score: Number(control("score").value),
    category: control("category").value,
    groundtruth: control("groundtruth").checked,
    detections: control("detections").checked,
    step: { step: "shown" },
  });
  // An image under one run, and the next run's with the arrow keys.
  const enlarge = startEnlarged({
    images: () => made.map((each) => each.large),
    view,
    background: () => "",
    names: data.categories,
    original: (image) => pictures[image.id],
  });

  function cardOf(run, image) {
    if (!kept.has(run)) {
      const swatch = element("span", { class: "swatch", style: `background:var(--run-${run})` });
      const each = { run, image, swatch, ...makeCard(image, pictures[image.id], names[run]) };
      each.card.dataset.shows = run;
      addOpening(each, `${image.file_name}, ${names[run]}`, () => enlarge(each.large), () => made);
      kept.set(run, each);
    }
    const each = kept.get(run);
    each.card.style.setProperty(`--run-${run}`, colourOfRun(run));
    return each;
  }

  function build() {
    const image = data.images[control("image").selectedIndex];
    if (made[0]?.image !== image) kept.clear();
    const shown = new Set(shownRuns());
    made = data.runs.filter((run) => shown.has(run)).map((run) => cardOf(run, image));
    byId("gallery-cards").replaceChildren(...made.map((each) => each.card));
    draw();
  }

  function update() { seen += 1; draw(); }

  function draw() {
    const now = view();
    const upTo = steps[Number(slider.value)] ?? Infinity;
    control("score-shown").textContent = now.score.toFixed(2);
    control("step-shown").textContent = upTo === Infinity ? "" : String(upTo);
    slider.setAttribute("aria-valuetext", `step ${upTo}`);
    for (const each of made) {
      if (each.seen === seen) continue;
      each.seen = seen;
      const found = each.image.detections[each.run];
      const step = stepOf(found, upTo);
      const ap50 = each.image.ap50[each.run];
      const at = step === null ? "no checkpoint yet" : step === "" ? "" : `step ${step}`;
      const last = step !== null && step === stepOf(found, Infinity);
      each.heading = [names[each.run], at, last && ap50 !== null && ap50 !== undefined
        ? `AP50 ${(100 * ap50).toFixed(1)}` : ""].filter(Boolean).join(" · ");
      const shown = step === null ? [] : found[step];
      updateCard(each, each.image, shown, now, data.categories);
      each.large = { ...each.image, file_name: each.heading, detections: { [now.step.step]: shown } };
      each.caption.prepend(each.swatch);
    }
    updateLegend();
  }

  function move(by) {
    const list = control("image");
    list.selectedIndex = (list.selectedIndex + by + list.options.length) % list.options.length;
    build();
  }

  onSet(control("image"), build);
  control("previous").addEventListener("click", () => move(-1));
  control("next").addEventListener("click", () => move(1));
  for (const name of ["score", "step", "category", "groundtruth", "detections"]) {
    onSet(control(name), update);
  }
  return build;
}

// Which columns of the table of runs are shown, by boxes of their names.
function startColumns() {
  const table = byId("runs-table");
  const holder = byId("columns").querySelector(".controls");
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (column < 2) return;
    const box = element("input", { type: "checkbox", checked: !head.hasAttribute("data-optional") });
    const show = () => {
      for (const row of table.rows) row.cells[column].classList.toggle("hidden", !box.checked);
    };
    onSet(box, show);
    holder.append(element("label", { class: "check" }, box, head.textContent.trim()));
    show();
  });
}

function startUnits() {
  if (byId("curves-x")) onSet(byId("curves-x"), (event) => {
    unit = event.target.value;
    fitCurves(new Set(shownRuns()));
    const unknown = [...byId("legend").children].filter((item) =>
      factorOf(item.dataset.of) === null).map((item) => item.textContent.trim());
    byId("curves-x-note").textContent = unknown.length
      ? `not known of ${unknown.join(", ")}, which are left out` : "";
  });
}

document.addEventListener("DOMContentLoaded", () => {
  fitCurves = startCurves();
  startColumns();
  startUnits();
  startRuns(startComparedImages());
  const data = readData("gallery-data");
  startCategories(galleryImages(data, comparedHolds, (found) => {
    if (!found.length) return;
    const list = byId("gallery-image");
    list.selectedIndex = data.images.indexOf(found[0]);
    list.dispatchEvent(new Event("input", { bubbles: true }));
  }));
});

// Whether an image of a comparison holds a category: annotated, or detected by any run.
function comparedHolds(image, id) {
  return image.groundtruth.some((each) => String(each.category_id) === id) ||
    Object.values(image.detections).some((steps) => Object.values(steps).some((list) =>
      list.some((each) => String(each[CATEGORY]) === id)));
}
