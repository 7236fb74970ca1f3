// Which images a gallery shows, and in which order.

const KIND_NAMES = {
  Cls: "wrong category", Loc: "badly placed", Both: "wrong category, badly placed",
  Dupe: "duplicate", Bkg: "background as object",
};

// Facts of an image that no slider changes, made once; best: step -> category -> highest score.
function imageFacts(image) {
  if (!image.facts) {
    const best = {};
    for (const [step, list] of Object.entries(image.detections)) {
      best[step] = {};
      for (const each of list) {
        const category = each[CATEGORY];
        best[step][category] = Math.max(best[step][category] ?? 0, each[SCORE]);
      }
    }
    Object.defineProperty(image, "facts", { value: {
      annotated: new Set(image.groundtruth.map((each) => String(each.category_id))),
      best,
      sizes: new Set(image.groundtruth.map((each) => each.size)),
      crowd: image.groundtruth.some((each) => each.crowd),
    } });
  }
  return image.facts;
}

// Whether an image has a category: annotated, or detected with a score that is drawn.
function imageHolds(image, category, view) {
  const facts = imageFacts(image);
  return facts.annotated.has(category) || facts.best[view.step.step]?.[category] >= view.score;
}

function detectionsAt(image, view) {
  return image.detections[view.step.step] ?? [];
}

function imageFits(image, view, kinds) {
  const facts = imageFacts(image);
  if (view.group !== "" && !image.groups.includes(view.group)) return false;
  if (view.category !== "" && !imageHolds(image, view.category, view)) return false;
  if (view.size !== "" && !facts.sizes.has(view.size)) return false;
  if (view.crowd === "with" && !facts.crowd) return false;
  if (view.crowd === "without" && facts.crowd) return false;
  if (view.error === "") return true;
  if (view.error === "Miss") {
    return visible(image, detectionsAt(image, view), view).missed > 0;
  }
  const kind = kinds.indexOf(view.error);
  return detectionsAt(image, view).some((each) => each[KIND] === kind && each[SCORE] >= view.score &&
    (view.category === "" || String(each[CATEGORY]) === view.category));
}

const ORDERS = {
  "": null,
  ap: (image, view) => image.ap50_by_step?.[view.step.step] ?? image.ap50 ?? 2,
  missed: (image, view) => -visible(image, detectionsAt(image, view), view).missed,
  wrong: (image, view) => -visible(image, detectionsAt(image, view), view).wrong,
  confidence: (image, view) =>
    -Math.max(0, ...detectionsAt(image, view).map((each) => each[SCORE])),
};

function chosenImages(data, view) {
  const fitting = data.images.filter((image) => imageFits(image, view, data.error_kinds ?? []));
  const order = ORDERS[view.sort];
  if (!order) return fitting;
  const keys = new Map(fitting.map((image) => [image, order(image, view)]));
  return [...fitting].sort((a, b) => keys.get(a) - keys.get(b));
}
