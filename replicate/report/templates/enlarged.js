// An image at its full size: Enter or a click opens it, arrow keys go on, Escape closes.

function startEnlarged(sources) {
  const dialog = byId("enlarged");
  let index = 0;

  function canvasOf(image, detections, view) {
    const [height, width] = image.image_hw;
    const canvas = element("div", {
      class: "canvas", style: `--shape:${width / height};aspect-ratio:${width}/${height}`,
    });
    const picture = sources.original(image);
    if (picture) canvas.append(element("img", { src: picture, alt: "", width, height }));
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    svg.setAttribute("aria-label", `${image.file_name}, ${view.groundtruth ? "groundtruth" : ""} ` +
      `${view.detections ? "detections" : ""}`);
    canvas.append(svg);
    drawBoxes(svg, image, visible(image, detections, view), view, sources.names);
    return canvas;
  }

  function show() {
    const images = sources.images();
    index = (index + images.length) % images.length;
    const image = images[index];
    const view = sources.view();
    const found = detectionsAt(image, view);
    const beside = byId("enlarged-beside").checked;
    const views = beside
      ? [{ ...view, detections: false, groundtruth: true }, { ...view, groundtruth: false, detections: true }]
      : [view];
    byId("enlarged-title").textContent =
      `${image.file_name} (${index + 1} of ${images.length})`;
    byId("enlarged-canvas").replaceChildren(...views.map((each) => canvasOf(image, found, each)));
    byId("enlarged-canvas").className = `large ${sources.background()}`;
  }

  function move(by) { index += by; show(); }

  byId("enlarged-previous").addEventListener("click", () => move(-1));
  byId("enlarged-next").addEventListener("click", () => move(1));
  byId("enlarged-close").addEventListener("click", () => dialog.close());
  onSet(byId("enlarged-beside"), show);
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) { event.preventDefault(); move(by); }
  });
  return (image) => {
    index = sources.images().indexOf(image);
    show();
    dialog.showModal();
  };
}

// The button over a card's picture that opens it; arrow keys go from card to card.
function addOpening(each, name, open, cards) {
  const button = element("button", {
    type: "button", class: "open", "aria-label": `Enlarge ${name}`,
  });
  each.card.querySelector(".canvas").append(button);
  button.addEventListener("click", open);
  button.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = by && cards()[cards().indexOf(each) + by];
    if (next) { event.preventDefault(); next.card.querySelector(".open").focus(); }
  });
}
