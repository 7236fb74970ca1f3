// One category: a click on its name anywhere shows its figures, its curve, its confusions and its
// images, as far as the page has them.

// A small multiple has no room for the names of its axes; enlarged, it has.
function withAxisNames(svg, x, y) {
  const { left, right, top, bottom } = frameOf(svg);
  const [across, up] = [(left + right) / 2, (top + bottom) / 2];
  svg.append(
    shape("text", { class: "axis-name", x: across, y: bottom + 12 }, x),
    shape("text", {
      class: "axis-name", x: left - 8, y: up, transform: `rotate(-90 ${left - 8} ${up})`,
    }, y));
  return svg;
}

// images: (name) -> {count, show}, or null where the page has none of that category.
function startCategories(images) {
  const dialog = byId("category-dialog");
  if (!dialog) return;

  function rowsOf(table, name) {
    return [...(byId(table)?.tBodies[0]?.rows ?? [])].filter((row) =>
      [...row.querySelectorAll("[data-category]")].some((each) => each.dataset.category === name));
  }

  function tableOf(id, rows) {
    const head = byId(id).tHead.cloneNode(true);
    head.querySelectorAll("button").forEach((each) => each.replaceWith(each.textContent));
    const copies = rows.map((row) => {
      const copy = row.cloneNode(true);
      copy.classList.remove("hidden");  // what a search hides is asked for here
      return copy;
    });
    return element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Figures" },
      element("table", {}, head, element("tbody", {}, ...copies)));
  }

  function curveOf(name) {
    const curve = [...document.querySelectorAll("#category-multiples figure")]
      .find((each) => each.dataset.text === name)?.querySelector("svg");
    if (!curve) return [];
    // Its ids are the page's already; a copy under the same ones would draw the other's marks.
    const copy = withAxisNames(curve.cloneNode(true), "recall", "precision");
    const legend = byId("category-legend")?.cloneNode(true) ?? "";
    if (legend) legend.removeAttribute("id");
    const figure = element("figure", { class: "plot" },
      element("figcaption", {}, "Precision over recall"), legend, copy);
    startValues(figure);
    return [figure];
  }

  function imagesOf(name) {
    const found = images(name);
    if (!found) return [];
    const button = element("button", { type: "button", class: "plain" },
      `Show its ${found.count} image${found.count === 1 ? "" : "s"}`);
    button.addEventListener("click", () => {
      document.querySelectorAll("dialog[open]").forEach((each) => each.close());
      found.show();
    });
    return [button];
  }

  function show(name) {
    byId("category-title").textContent = name;
    const figures = rowsOf("category-table", name);
    const parts = [...(figures.length ? [tableOf("category-table", figures)] : []), ...curveOf(name)];
    if ("confusions" in dialog.dataset) {
      const confused = rowsOf("confusion-table", name);
      parts.push(element("h3", {}, "Confusions"), confused.length
        ? tableOf("confusion-table", confused)
        : element("p", {}, "It is in none of the pairs that are listed."));
    }
    byId("category-body").replaceChildren(...parts, ...imagesOf(name));
    byId("category-body").querySelectorAll("button.link")
      .forEach((each) => each.replaceWith(each.textContent));
    if (!dialog.open) dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const named = event.target.closest("button.link[data-category], .tag[data-category]");
    if (named) show(named.dataset.category);
  });
  byId("category-close").addEventListener("click", () => dialog.close());
}

// The images of a gallery that hold a category: its list of categories is set to it.
function galleryImages(data, holds, shown = () => {}) {
  return (name) => {
    const id = data && Object.keys(data.categories).find((each) => data.categories[each] === name);
    if (!id) return null;
    const found = data.images.filter((image) => holds(image, id));
    const show = () => {
      const list = byId("gallery-category");
      list.value = id;
      list.dispatchEvent(new Event("input", { bubbles: true }));
      shown(found);
      byId("gallery").scrollIntoView();
      list.focus({ preventScroll: true });
    };
    return { count: found.length, show };
  };
}
