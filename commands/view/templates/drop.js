// The model page's place for an image: one that is dropped or chosen is sent to this server, and what it says is shown.
"use strict";
const place = document.getElementById("drop");
if (place) {
  const chosen = document.getElementById("image"), said = document.getElementById("said");
  let busy = false;
  async function send(file) {
    if (!file || busy) return;
    busy = true;
    said.textContent = "The model looks at " + file.name + ", which takes some seconds.";
    document.getElementById("told").replaceChildren();
    try {
      const answer = await fetch(place.dataset.address, {method: "POST", body: file, headers: {"Content-Type": "application/octet-stream"}});
      const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("told");
      said.textContent = found ? "Of " + file.name + ":" : "This could not be sent: the file is too large, or another image is being looked at.";
      if (found) document.getElementById("told").replaceWith(found);
    } catch {
      said.textContent = "The server did not answer.";
    }
    busy = false;
    chosen.value = "";
  }
  chosen.addEventListener("change", () => send(chosen.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    place.addEventListener(kind, event => {
      event.preventDefault();
      place.classList.toggle("over", kind === "dragover");
      if (kind === "drop") send(event.dataTransfer.files[0]);
    });
  }
}
