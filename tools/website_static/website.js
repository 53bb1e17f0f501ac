// The two things that a page of the site needs a script for.

// An explorer in a frame says how high it is, and gets that much room: on a narrow screen its
// panels stand one above the other.
window.addEventListener("message", ({ data, source }) => {
  if (typeof data?.bfnHeight !== "number") return;
  const own = (frame) => frame.contentWindow === source;
  const frame = [...document.querySelectorAll("iframe")].find(own);
  if (frame) frame.style.height = `${Math.ceil(data.bfnHeight)}px`;
});

// On paper nothing can be unfolded: print what is folded away, and fold it again afterwards.
window.addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    folded.dataset.forPrint = "";
  }
});
window.addEventListener("afterprint", () => {
  for (const folded of document.querySelectorAll("details[data-for-print]")) {
    folded.open = false;
    delete folded.dataset.forPrint;
  }
});
