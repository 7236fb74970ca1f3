// Pictures with groundtruth and detections: what a run's gallery and a comparison's share.

const [CATEGORY, SCORE, X, Y, WIDTH, HEIGHT, FOUND, KIND, OUTLINE] =
  [0, 1, 2, 3, 4, 5, 6, 7, 8];

const MANY = 12;

function addBox(svg, [x, y, width, height], kind, attributes = {}) {
  const place = { x, y, width: Math.max(width, 0), height: Math.max(height, 0) };
  const under = attributes["stroke-opacity"] < 1 ? { "stroke-opacity": 0.2 } : {};
  svg.append(shape("rect", { ...place, class: "box under", ...under }));
  svg.append(shape("rect", { ...place, class: `box ${kind}`, ...attributes }));
}

// What is visible of an image at these settings: {detections, found: Set, missed, wrong}.
function visible(image, detections, view) {
  const fits = (category) => view.category === "" || String(category) === view.category;
  const shown = detections.filter((each) => each[SCORE] >= view.score && fits(each[CATEGORY]));
  const found = new Set(shown.map((each) => each[FOUND]).filter((index) => index !== null && index >= 0));
  const objects = image.groundtruth
    .map((each, index) => ({ ...each, index }))
    .filter((each) => fits(each.category_id));
  const missed = objects.filter((each) => !each.crowd && !found.has(each.index)).length;
  const wrong = shown.filter((each) => each[FOUND] === -1).length;
  return { shown, found, objects, missed, wrong };
}

function drawBoxes(svg, image, seen, view, names) {
  const [height, width] = image.image_hw;
  const size = Math.max(width, height) / 26;
  const tags = [];
  svg.replaceChildren();
  if (view.groundtruth) {
    for (const each of seen.objects) {
      const kind = each.crowd ? "crowd" : seen.found.has(each.index) ? "found" : "missed";
      addBox(svg, each.box_xywh_px, kind);
      addOutline(svg, each, kind, size);
      if (kind === "missed" || !view.detections) {
        const [x, y, , h] = each.box_xywh_px;
        tags.push([names[each.category_id], x,
          [y + h - size * 0.25, y + h + size, y + size, y + h - size * 1.3],
          names[each.category_id]]);
      }
    }
  }
  // The best one last, so that it lies on top; its tag first, so that it has its place.
  for (const each of view.detections ? [...seen.shown].reverse() : []) {
    const kind = each[FOUND] === null ? "ignored" : each[FOUND] < 0 ? "wrong" : "right";
    // Where boxes are many, those of a low score are fainter.
    const faint = seen.shown.length > MANY ? { "stroke-opacity": Math.min(1, 0.3 + each[SCORE]) } : {};
    addBox(svg, each.slice(X, HEIGHT + 1), kind, { "data-score": each[SCORE], ...faint });
    addOutline(svg, each[OUTLINE] ?? {}, kind, size);
    const mark = kind === "wrong" ? "✗ " : "";
    const text = `${mark}${names[each[CATEGORY]]} ${each[SCORE].toFixed(2)}`;
    const [top, bottom] = [each[Y], each[Y] + each[HEIGHT]];
    tags.unshift([text, each[X],
      [top - size * 0.25, top + size, bottom + size, bottom - size * 0.25, top + 2.2 * size],
      names[each[CATEGORY]]]);
  }
  if (view.names !== false) addTags(svg, tags, size, width, height);
}

// The categories annotated in an image, each a button that opens what the page knows of it.
const MOST_NAMED = 6;
function categoryButtons(image, names) {
  const ids = [...new Set(image.groundtruth.map((each) => each.category_id))];
  const buttons = ids.slice(0, MOST_NAMED).flatMap((id, index) => [
    index ? ", " : element("br"),
    element("button", { type: "button", class: "link", "data-category": names[id] }, names[id]),
  ]);
  return ids.length > MOST_NAMED ? [...buttons, ` and ${ids.length - MOST_NAMED} more`] : buttons;
}

// A legend lists what the cards show, and no more.
function updateLegend() {
  for (const item of document.querySelectorAll("#gallery-legend li")) {
    item.classList.toggle("hidden", !document.querySelector(`#gallery-cards ${item.dataset.drawn}`));
  }
}

// The mask and the keypoints of an object or a detection, where it has any.
function addOutline(svg, each, kind, size) {
  for (const polygon of each.polygons ?? []) {
    const points = polygon.map((value, index) => value + (index % 2 ? " " : ",")).join("");
    svg.append(shape("polygon", { points, class: `mask ${kind}` }));
  }
  const keypoints = each.keypoints ?? [];
  for (let i = 0; i + 2 < keypoints.length; i += 3) {
    if (keypoints[i + 2] > 0) {
      svg.append(shape("circle", {
        cx: keypoints[i], cy: keypoints[i + 1], r: size / 5, class: `keypoint ${kind}`,
      }));
    }
  }
}

// Each tag at the first of its baselines where it covers no other. Where none is free it is left
// out: its box stays, and so do the tags of higher scores, which are placed first.
function addTags(svg, tags, size, width, height) {
  const taken = [];
  for (const [text, left, baselines, category] of tags) {
    const length = text.length * size * 0.66;
    const x = Math.max(2, Math.min(left, width - length));
    const places = baselines.map((y) => Math.min(Math.max(y, size), height - 2));
    const free = (y) => taken.every((other) => Math.abs(other.y - y) > size ||
      other.x > x + length || other.x + other.length < x);
    const y = places.find(free);
    if (y === undefined) continue;
    taken.push({ x, y, length });
    svg.append(shape("text", {
      x, y, class: "tag", "font-size": size, "stroke-width": size * 0.22, "data-category": category,
    }, text));
  }
}

function makeCard(image, picture, heading) {
  const [height, width] = image.image_hw;
  const canvas = element("div", { class: "canvas", style: `aspect-ratio:${width}/${height}` });
  if (picture) canvas.append(element("img", { src: picture, alt: "", width, height }));
  else canvas.append(element("div", { class: "absent" }, "picture not in this report"));
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  canvas.append(svg);
  const caption = element("figcaption");
  const card = element("figure", { class: "card", "data-image": image.id }, canvas, caption);
  return { card, svg, caption, heading };
}

function updateCard(made, image, detections, view, names) {
  const seen = visible(image, detections, view);
  drawBoxes(made.svg, image, seen, view, names);
  const objects = seen.objects.filter((each) => !each.crowd).length;
  const words =
    `${objects} object${objects === 1 ? "" : "s"}, ${objects - seen.missed} found, ` +
    `${seen.missed} missed, ${seen.wrong} wrong`;
  made.svg.setAttribute("aria-label", `${image.file_name}: ${words}`);
  made.caption.replaceChildren(
    element("b", {}, made.heading ?? image.file_name), element("br"), words,
    ...categoryButtons(image, names));
  return seen;
}
