// A category of a recognition report: its figures, its curve, and the images that hold it.

function recognizedImages(name) {
  const cards = [...document.querySelectorAll("#image-cards > *")];
  const holds = (card) => [...card.querySelectorAll(".present [data-category]")]
    .some((each) => each.dataset.category === name);
  const count = cards.filter(holds).length;
  const show = () => {
    const field = byId("image-search");
    field.value = "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    cards.forEach((card) => card.classList.toggle("hidden", !holds(card)));
    byId("image-search-count").textContent = `${count} of ${cards.length} shown, with ${name}`;
    byId("images").scrollIntoView();
    field.focus({ preventScroll: true });
  };
  return byId("image-search") ? { count, show } : null;
}

document.addEventListener("DOMContentLoaded", () => startCategories(recognizedImages));
