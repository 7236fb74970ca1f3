// A run's own gallery: its controls, pages, and the slider through its checkpoints.

const PER_PAGE = 12;
const FILTERS = ["group", "category", "size", "error", "crowd", "sort"];

function startGallery(data) {
  const pictures = readData("gallery-pictures");
  const originals = readData("gallery-originals") ?? {};
  const cards = byId("gallery-cards");
  const control = (name) => byId(`gallery-${name}`);
  let page = 0;
  let images = [];
  let made = [];

  const view = () => ({
    ...Object.fromEntries(FILTERS.map((name) => [name, control(name).value])),
    score: Number(control("score").value),
    groundtruth: control("groundtruth").checked,
    detections: control("detections").checked,
    names: control("names").checked,
    step: data.steps[Number(control("step").value)],
  });
  const background = () =>
    [control("gray").checked && "gray", control("dim").checked && "dim"].filter(Boolean).join(" ");
  const enlarge = startEnlarged({
    images: () => images,
    view,
    background,
    names: data.categories,
    original: (image) => originals[image.id] ?? pictures[image.id],
  });

  function cardOf(image) {
    const each = { image, ...makeCard(image, pictures[image.id]) };
    addOpening(each, image.file_name, () => enlarge(image), () => made);
    return each;
  }

  function build() {
    images = chosenImages(data, view());
    const pages = Math.max(1, Math.ceil(images.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    made = images.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(cardOf);
    cards.replaceChildren(...made.map((each) => each.card));
    control("previous").disabled = page === 0;
    control("next").disabled = page >= pages - 1;
    byId("gallery-page").textContent =
      `page ${page + 1} of ${pages}, ${images.length} image${images.length === 1 ? "" : "s"}`;
    update();
  }

  function headingOf(image, step) {
    const ap50 = image.ap50_by_step ? image.ap50_by_step[step] : image.ap50;
    return ap50 === null || ap50 === undefined
      ? image.file_name : `${image.file_name} · AP50 ${(100 * ap50).toFixed(1)}`;
  }

  function update() {
    const now = view();
    byId("gallery-score-shown").textContent = now.score.toFixed(2);
    const ap = now.step.AP === null ? "" : ` (AP ${(100 * now.step.AP).toFixed(1)})`;
    byId("gallery-step-shown").textContent = `${now.step.step}${ap}`;
    control("step").setAttribute("aria-valuetext", `step ${now.step.step}`);
    cards.className = `cards ${background()}`;
    for (const each of made) {
      each.heading = headingOf(each.image, now.step.step);
      updateCard(each, each.image, detectionsAt(each.image, now), now, data.categories);
    }
    updateLegend();
    const highest = Math.max(0, ...images.flatMap((image) =>
      detectionsAt(image, now).slice(0, 1).map((each) => each[SCORE])));
    byId("gallery-none").textContent = images.length && now.detections && highest < now.score
      ? `No detection on these images scores ${now.score.toFixed(2)} at step ${now.step.step}: ` +
        (highest ? `the highest score there is is ${highest.toFixed(2)}.`
          : `none reaches ${data.min_score}` + (data.highest_score === null ? "." :
            `; the highest of the last checkpoint on all images is ${data.highest_score}.`))
      : "";
  }

  function rebuildIfChosenBy() {
    const now = view();
    if (now.error !== "" || now.sort !== "" || now.category !== "") build(); else update();
  }

  for (const name of ["groundtruth", "detections", "names", "gray", "dim"]) {
    onSet(control(name), update);
  }
  for (const name of ["score", "step"]) onSet(control(name), rebuildIfChosenBy);
  for (const name of FILTERS) {
    onSet(control(name), () => { page = 0; build(); });
  }
  control("previous").addEventListener("click", () => { page -= 1; build(); });
  control("next").addEventListener("click", () => { page += 1; build(); });
  build();
  return view;
}

document.addEventListener("DOMContentLoaded", () => {
  const data = readData("gallery-data");
  const view = data && startGallery(data);
  startCategories(galleryImages(data, (image, id) => imageHolds(image, id, view())));
});
