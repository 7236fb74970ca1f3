// The gallery: pictures with groundtruth and the detections of the chosen checkpoint.

const SVG = "http://www.w3.org/2000/svg";
const PER_PAGE = 12;
const [CATEGORY, SCORE, X, Y, WIDTH, HEIGHT, FOUND] = [0, 1, 2, 3, 4, 5, 6];

function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function addBox(svg, [x, y, width, height], kind, attributes = {}) {
  const place = { x, y, width: Math.max(width, 0), height: Math.max(height, 0) };
  svg.append(shape("rect", { ...place, class: "box under" }));
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
  svg.replaceChildren();
  if (view.groundtruth) {
    for (const each of seen.objects) {
      const kind = each.crowd ? "crowd" : seen.found.has(each.index) ? "found" : "missed";
      addBox(svg, each.box_xywh_px, kind);
      if (kind === "missed" || !view.detections) {
        const [x, y, , h] = each.box_xywh_px;
        addTag(svg, x, y + h, names[each.category_id], size, width, height);
      }
    }
  }
  if (!view.detections) return;
  // The best one last, so that it lies on top.
  for (const each of [...seen.shown].reverse()) {
    const kind = each[FOUND] === null ? "ignored" : each[FOUND] < 0 ? "wrong" : "right";
    addBox(svg, each.slice(X, HEIGHT + 1), kind, { "data-score": each[SCORE] });
    const mark = kind === "wrong" ? "✗ " : "";
    const text = `${mark}${names[each[CATEGORY]]} ${each[SCORE].toFixed(2)}`;
    addTag(svg, each[X], each[Y] - size * 0.25, text, size, width, height);
  }
}

function addTag(svg, x, y, text, size, width, height) {
  const room = width - text.length * size * 0.55;
  svg.append(shape("text", {
    x: Math.max(2, Math.min(x, room)), y: Math.min(Math.max(y, size), height - 2),
    class: "tag", "font-size": size, "stroke-width": size * 0.22,
  }, text));
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
    element("b", {}, made.heading ?? image.file_name), element("br"), words);
  return seen;
}

function startGallery() {
  const data = readData("gallery-data");
  if (!data) return;
  const pictures = readData("gallery-pictures");
  const cards = byId("gallery-cards");
  const control = (name) => byId(`gallery-${name}`);
  let page = 0;
  let made = [];

  const view = () => ({
    score: Number(control("score").value),
    category: control("category").value,
    groundtruth: control("groundtruth").checked,
    detections: control("detections").checked,
    step: data.steps[Number(control("step").value)],
  });

  function chosen() {
    const group = control("group").value;
    const category = control("category").value;
    const holds = (image) =>
      category === "" ||
      image.groundtruth.some((each) => String(each.category_id) === category) ||
      Object.values(image.detections).some((list) =>
        list.some((each) => String(each[CATEGORY]) === category));
    return data.images.filter((image) =>
      (group === "" || image.groups.includes(group)) && holds(image));
  }

  function build() {
    const images = chosen();
    const pages = Math.max(1, Math.ceil(images.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    made = images.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map((image) => ({
      image,
      ...makeCard(image, pictures[image.id],
        image.ap50 === null ? image.file_name
          : `${image.file_name} · AP50 ${(100 * image.ap50).toFixed(1)}`),
    }));
    cards.replaceChildren(...made.map((each) => each.card));
    control("previous").disabled = page === 0;
    control("next").disabled = page >= pages - 1;
    byId("gallery-page").textContent =
      `page ${page + 1} of ${pages}, ${images.length} image${images.length === 1 ? "" : "s"}`;
    update();
  }

  function update() {
    const now = view();
    byId("gallery-score-shown").textContent = now.score.toFixed(2);
    const ap = now.step.AP === null ? "" : ` (AP ${(100 * now.step.AP).toFixed(1)})`;
    byId("gallery-step-shown").textContent = `${now.step.step}${ap}`;
    control("step").setAttribute("aria-valuetext", `step ${now.step.step}`);
    for (const each of made) {
      updateCard(each, each.image, each.image.detections[now.step.step] ?? [], now, data.categories);
    }
  }

  for (const name of ["score", "step", "groundtruth", "detections"]) {
    control(name).addEventListener("input", update);
  }
  for (const name of ["group", "category"]) {
    control(name).addEventListener("input", () => { page = 0; build(); });
  }
  control("previous").addEventListener("click", () => { page -= 1; build(); });
  control("next").addEventListener("click", () => { page += 1; build(); });
  build();
}

document.addEventListener("DOMContentLoaded", startGallery);
