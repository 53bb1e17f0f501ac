// Tells a screen reader what each slider of an explorer is called: its label stands beside it on the
// page, but ipywidgets does not tie the two together.

function name(explorer) {
  let missing = false;
  for (const slider of explorer.querySelectorAll(".widget-slider")) {
    const handle = slider.querySelector("[role=slider]");
    const label = slider.querySelector(".widget-label")?.textContent.trim();
    if (handle && label) handle.setAttribute("aria-label", label);
    else missing = true;
  }
  return !missing;
}

function render({ el }) {
  el.hidden = true;
  let patience = 600; // frames: the explorer around it may not be on the page yet
  const look = () => {
    const explorer = el.closest(".bfn-explorer");
    if (explorer && name(explorer)) return;
    if (patience-- > 0) requestAnimationFrame(look);
  };
  look();
}

export default { render };
