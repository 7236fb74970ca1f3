// What is drawn over the pictures of an inspection is shown and hidden by its box.

function startLayers() {
  document.querySelectorAll("input[data-hides]").forEach((box) => {
    const apply = () => {
      byId(box.dataset.of).classList.toggle(`hide-${box.dataset.hides}`, !box.checked);
    };
    onSet(box, apply);
    apply();
  });
}

document.addEventListener("DOMContentLoaded", startLayers);
