// A run's own gallery: groups, pages, and the slider through its checkpoints.

const PER_PAGE = 12;

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
