// The slider of the model page: while it moves, what stands below it is asked for anew. Without this, its button does.
"use strict";
const chooser = document.getElementById("chooser");
if (chooser) {
  const slider = document.getElementById("edge");
  let asked = 0, waiting = 0;
  async function show() {
    const mine = ++asked;
    const place = chooser.getAttribute("action") + "?" + new URLSearchParams(new FormData(chooser));
    const answer = await fetch(place);
    if (!answer.ok || mine !== asked) return;
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("at-threshold");
    if (!found || mine !== asked) return;
    document.getElementById("at-threshold").replaceWith(found);
    slider.setAttribute("aria-valuetext", found.dataset.threshold);
    history.replaceState(null, "", place);
  }
  slider.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 60);
  });
  document.getElementById("hospital").addEventListener("change", () => chooser.submit());
}
