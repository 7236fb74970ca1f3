"use strict";
// Themes, sortable tables and filters. Every control works from the keyboard.

const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A control that is set, by whom ever: people's browsers send input and then change, some programs
// that fill in pages change alone.
function onSet(control, act) {
  let told = false;
  control.addEventListener("input", (event) => { told = true; act(event); });
  control.addEventListener("change", (event) => { if (!told) act(event); told = false; });
}

const SVG = "http://www.w3.org/2000/svg";
function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function startTheme() {
  const button = byId("theme");
  const dark = () =>
    (document.documentElement.dataset.theme ||
      (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const show = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    show();
  });
  show();
}

// ---- tables: click a heading to sort; empty cells stay at the end.

function cellValue(row, column) {
  const cell = row.cells[column];
  const given = cell.dataset.value;
  if (given !== undefined) return given === "" ? null : Number(given);
  const text = cell.textContent.trim();
  return text === "" ? null : text.toLowerCase();
}

function compareValues(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortTable(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [cellValue(row, column), row]);
  const empty = rows.filter(([value]) => value === null);
  const full = rows.filter(([value]) => value !== null);
  full.sort(([a], [b]) => (descending ? compareValues(b, a) : compareValues(a, b)));
  const ordered = [...full.map(([, row]) => row), ...empty.map(([, row]) => row)];
  // Rows of one group stay together: what cannot be compared is not mixed.
  const groups = [...new Set(ordered.map((row) => row.dataset.group))].sort();
  for (const [index, group] of groups.entries()) {
    const rows = ordered.filter((row) => row.dataset.group === group);
    rows.forEach((row, at) => row.classList.toggle("apart", index > 0 && at === 0));
    body.append(...rows);
  }
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    if (index === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function startSorting(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.hasAttribute("data-nosort")) return;
    const button = element("button", { type: "button", title: "sort by this column" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const numeric = head.classList.contains("num");
      sortTable(table, column, before ? before === "ascending" : numeric);
    });
  });
}

// ---- filters: <input data-filters="id"> hides what does not hold its words.

function startFilter(input) {
  const targets = input.dataset.filters.split(" ").map(byId).filter(Boolean);
  const count = byId(input.dataset.count);
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    let all = 0;
    targets.forEach((target, index) => {
      const items = target.tBodies ? [...target.tBodies[0].rows] : [...target.children];
      for (const item of items) {
        const text = (item.dataset.text ?? item.textContent).toLowerCase();
        const fits = words.every((word) => text.includes(word));
        item.classList.toggle("hidden", !fits);
        if (index === 0) { all += 1; shown += fits ? 1 : 0; }
      }
    });
    if (count) count.textContent = `${shown} of ${all} shown`;
  };
  onSet(input, apply);
  apply();
}

// Commands are to be pasted: each has a button that copies it, or selects it where the browser
// keeps its clipboard shut.
function startCopying(pre) {
  const button = element("button", { type: "button", class: "plain copy noprint" }, "Copy");
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(pre);
    try {
      await navigator.clipboard.writeText(pre.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected: copy it with Ctrl+C";
    }
  });
  pre.after(button);
}

function readData(id) {
  const holder = byId(id);
  return holder ? JSON.parse(holder.textContent) : null;
}

// What is folded on the screen is printed.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details:not([open])").forEach((each) => {
    each.open = true;
    addEventListener("afterprint", () => { each.open = false; }, { once: true });
  });
});

document.addEventListener("DOMContentLoaded", () => {
  startTheme();
  document.querySelectorAll("table[data-sortable]").forEach(startSorting);
  document.querySelectorAll("input[data-filters]").forEach(startFilter);
  document.querySelectorAll("pre.command").forEach(startCopying);
});
