// One category: a click on its name anywhere shows its curve, its confusions and its images.

function startCategories(data) {
  const dialog = byId("category-dialog");
  if (!dialog) return;

  function cells(table, name) {
    const body = byId(table)?.tBodies[0];
    return [...(body?.rows ?? [])].filter((row) =>
      [...row.querySelectorAll("[data-category]")].some((each) => each.dataset.category === name));
  }

  function tableOf(id, rows) {
    const head = byId(id).tHead.cloneNode(true);
    head.querySelectorAll("button").forEach((each) => each.replaceWith(each.textContent));
    return element("div", { class: "scroll" },
      element("table", {}, head, element("tbody", {}, ...rows.map((row) => row.cloneNode(true)))));
  }

  function show(name) {
    byId("category-title").textContent = name;
    const parts = [];
    const figures = cells("category-table", name);
    if (figures.length) parts.push(tableOf("category-table", figures));
    const curve = [...document.querySelectorAll("#category-multiples figure")]
      .find((each) => each.dataset.text === name)?.querySelector("svg");
    if (curve) {
      const copy = curve.cloneNode(true);
      copy.removeAttribute("tabindex");
      const figure = element("figure", { class: "plot" },
        element("figcaption", {}, "Precision over recall"), copy);
      parts.push(figure);
    }
    const confused = cells("confusion-table", name);
    parts.push(element("h3", {}, "Confusions"), confused.length
      ? tableOf("confusion-table", confused)
      : element("p", {}, "It is in none of the pairs that are listed."));
    const id = data && Object.keys(data.categories).find((each) => data.categories[each] === name);
    if (id !== undefined && id) {
      const count = data.images.filter((image) => imageFacts(image).categories.has(id)).length;
      const button = element("button", { type: "button", class: "plain" },
        `Show its ${count} image${count === 1 ? "" : "s"} in the gallery`);
      button.addEventListener("click", () => {
        dialog.close();
        const list = byId("gallery-category");
        list.value = id;
        list.dispatchEvent(new Event("input", { bubbles: true }));
        byId("gallery").scrollIntoView();
        list.focus({ preventScroll: true });
      });
      parts.push(button);
    }
    byId("category-body").replaceChildren(...parts);
    byId("category-body").querySelectorAll("button.link")
      .forEach((each) => each.replaceWith(each.textContent));
    if (!dialog.open) dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.link[data-category]");
    if (button) show(button.dataset.category);
  });
  byId("category-close").addEventListener("click", () => dialog.close());
}
