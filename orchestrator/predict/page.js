"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const slider = byId("threshold"), filter = byId("filter"), large = byId("large");
  const cards = [...document.querySelectorAll(".card")];
  let shownCard = null;

  // how many of ascending values are at or above the threshold: those are flagged
  const reaching = (values, threshold) => {
    let low = 0, high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] >= threshold) high = middle; else low = middle + 1;
    }
    return values.length - low;
  };
  const percent = (rate) => `${Number((100 * rate).toPrecision(3))} %`;
  const short = (value) => String(Number(value.toPrecision(6)));

  const relabel = () => {
    const threshold = data.stops[slider.value];
    byId("value").textContent = short(threshold);
    byId("flagged").textContent = reaching(data.scores, threshold);
    if (data.normal.length) {
      const k = reaching(data.normal, threshold);
      byId("rate").textContent = `Of good parts at most ${percent(data.expected[k])} are expected to be flagged, and with`
        + ` 95 % confidence no more than ${percent(data.upper[k])} (${k} of ${data.normal.length} normal reference images are).`;
    } else {
      byId("rate").textContent = "The model knows no normal reference images, so nothing can be said of false alarms.";
    }
    slider.setAttribute("aria-valuetext", `${short(threshold)}, ${byId("flagged").textContent} images flagged`);
    let n = 0;
    for (const card of cards) {
      const isFlagged = Number(card.dataset.score) >= threshold;
      card.classList.toggle("flagged", isFlagged);
      card.querySelector(".label").textContent = isFlagged ? "flagged" : "passed";
      card.hidden = filter.value !== "" && (filter.value === "flagged") !== isFlagged;
      n += !card.hidden;
    }
    byId("none").hidden = n > 0;
  };

  const enlarge = (card) => {
    shownCard = card;
    const image = card.querySelector("img");
    byId("large-picture").src = image.dataset.picture ?? image.src;
    if (byId("large-overlay")) byId("large-overlay").src = image.src;
    byId("large-name").textContent = card.querySelector(".name").textContent;
    byId("large-score").textContent = `score ${short(Number(card.dataset.score))}, ${card.querySelector(".label").textContent}`;
    if (!large.open) large.showModal();
  };
  const step = (by) => {
    const visible = cards.filter((card) => !card.hidden);
    const next = visible[visible.indexOf(shownCard) + by];
    if (next) enlarge(next);
  };

  slider.max = data.stops.length - 1;
  slider.value = data.start;
  slider.addEventListener("input", relabel);
  filter.addEventListener("change", relabel);
  byId("reset").addEventListener("click", () => { slider.value = data.start; relabel(); });
  for (const card of cards) card.firstElementChild.addEventListener("click", () => enlarge(card));
  byId("before").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => large.close());
  large.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
  large.addEventListener("close", () => shownCard?.firstElementChild.focus());
  document.querySelector("form.panel").addEventListener("submit", (event) => event.preventDefault());
  relabel();
})();
