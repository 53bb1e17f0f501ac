// Put into every page before Lab loads: tells when an explorer's picture has changed.
window.bfnProbe = {
  // All that an explorer draws, as one string: images by address, since a new picture from the
  // kernel is a new blob; what the browser draws itself by its pixels or its mark-up.
  picture(box) {
    const parts = [];
    for (const part of box.querySelectorAll("img, canvas, svg")) {
      if (part.tagName === "IMG") parts.push(part.src);
      else if (part.tagName === "CANVAS") parts.push(part.toDataURL());
      else parts.push(part.outerHTML);
    }
    return parts.join("\n");
  },

  // Whether there is a picture at all, and every image of it has arrived.
  ready(box) {
    const parts = [...box.querySelectorAll("img, canvas, svg")];
    return parts.length > 0
      && parts.every((part) => part.tagName !== "IMG" || (part.complete && part.naturalWidth > 0));
  },

  // Wait for the next change. The clock starts at the next key press, or now if there is none.
  watch(box, patience) {
    const before = this.picture(box);
    const armed = performance.now();
    let start = armed;
    const onKey = () => { start = performance.now(); };
    window.addEventListener("keydown", onKey, { capture: true, once: true });
    this.change = new Promise((resolve) => {
      const look = async () => {
        if (this.picture(box) !== before) {
          await Promise.all([...box.querySelectorAll("img")].map((i) => i.decode().catch(() => 0)));
          resolve(performance.now() - start);
        } else if (performance.now() - start > patience) {
          window.removeEventListener("keydown", onKey, { capture: true });
          resolve(null);
        } else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
  },

  // Count from here on, until `counted`, in how many frames of the screen there is a new picture:
  // an image that has arrived, or something that the browser drew itself.
  count(box) {
    let changed = false, frames = 0, running = true;
    const note = () => { changed = true; };
    const observer = new MutationObserver(note);
    for (const part of box.querySelectorAll("canvas, svg")) {
      observer.observe(part, { attributes: true, childList: true, subtree: true });
    }
    box.addEventListener("load", note, { capture: true });
    const start = performance.now();
    const look = () => {
      if (changed) frames += 1;
      changed = false;
      if (running) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
    this.counted = () => {
      running = false;
      observer.disconnect();
      box.removeEventListener("load", note, { capture: true });
      return frames / (performance.now() - start) * 1000;
    };
  },

  // Where a slider stands, whether Lab drew it (noUiSlider) or the browser did (a range input).
  slider(handle) {
    const range = handle.tagName === "INPUT";
    const number = (name) => Number(range ? handle[name] || { min: 0, max: 100 }[name]
      : handle.getAttribute(`aria-value${name === "value" ? "now" : name}`));
    const track = range ? handle : handle.closest(".noUi-base");
    const { x, y, width, height } = track.getBoundingClientRect();
    return { value: number("value"), min: number("min"), max: number("max"), x, y, width, height };
  },
};
