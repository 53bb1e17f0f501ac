// The places on a page of the website where a network draws or writes.

import { Board } from "./draw.js";
import { fromThisFolder, invite, megabytes } from "./loading.js";
import { Writer } from "./write.js";

for (const place of document.querySelectorAll(".draw")) {
  const { model, bytes, classes, length } = place.dataset;
  const [Kind, verb, kept] = classes ? [Writer, "Write", "write"] : [Board, "Draw digits", "draw"];
  invite(place, {
    button: `▶ ${verb} here`,
    told: `loads ${megabytes(bytes)} MB, once; what you ${kept} stays with you`,
    total: Number(bytes),
    begin: () => fromThisFolder(import.meta.url, model,
      { classes: Number(classes ?? 0), length: Number(length ?? 0) }),
    make: (worker) => { place.board = new Kind(place, worker); return place.board; },
  });
}
