"use strict";
(() => {
  // Theme: what the system says, unless the reader chose.
  const root = document.documentElement, button = document.getElementById("theme");
  const show = () => { button.lastElementChild.textContent = root.dataset.theme || "auto"; };
  button.addEventListener("click", () => {
    const next = { "": "light", light: "dark", dark: "" }[root.dataset.theme || ""];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    try { if (next) localStorage.setItem("adloc-theme", next); else localStorage.removeItem("adloc-theme"); } catch (e) { /* from disk, some browsers keep nothing */ }
    show();
  });
  show();

  // Tables: sorted by any column, rows without a value last; rows chosen by the filters.
  for (const figure of document.querySelectorAll("figure.table")) {
    const body = figure.querySelector("tbody"), heads = [...figure.querySelectorAll("th")];
    const rows = [...body.rows];
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const before = head.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => numeric ? parseFloat(row.cells[column].dataset.v ?? "NaN") : row.cells[column].textContent;
      const sorted = [...rows].sort((a, b) => {
        const x = value(a), y = value(b);
        if (numeric && (Number.isNaN(x) || Number.isNaN(y))) return Number.isNaN(x) - Number.isNaN(y);
        const order = numeric ? x - y : x.localeCompare(y, "en", { numeric: true });
        return descending ? -order : order;
      });
      body.append(...sorted);
    }));
    const selects = [...figure.querySelectorAll("select")], count = figure.querySelector("output");
    const choose = () => {
      let shown = 0;
      for (const row of rows) {
        row.hidden = selects.some((s) => s.value && row.cells[s.dataset.column].textContent !== s.value);
        shown += !row.hidden;
      }
      if (count) count.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
    };
    selects.forEach((select) => select.addEventListener("change", choose));
    if (selects.length) {
      // Long tables open on the averages.
      const category = selects.find((s) => heads[s.dataset.column].textContent === "category");
      if (category && rows.length > 20 && [...category.options].some((o) => o.value === "macro")) category.value = "macro";
      choose();
    }
  }

  // The gallery: views that match every choice, and images that have one; ten at first, more on demand.
  const filters = document.getElementById("gallery-filters");
  if (filters) {
    const cards = [...document.querySelectorAll(".card")], more = document.getElementById("more");
    let most = 10;
    const choose = () => {
      const chosen = Object.fromEntries([...filters.querySelectorAll("select")].map((s) => [s.name, s.value]));
      const fits = (node, name) => !chosen[name] || node.dataset[name] === chosen[name];
      let shown = 0;
      for (const card of cards) {
        let any = false;
        for (const tile of card.querySelectorAll(".tile")) {
          tile.hidden = !["verdict", "setting", "regime"].every((name) => fits(tile, name));
          any = any || !tile.hidden;
        }
        const fit = any && fits(card, "category") && fits(card, "defect");
        shown += fit;
        card.hidden = !fit || shown > most;
      }
      filters.querySelector("output").textContent = `${shown} of ${cards.length} images`;
      more.hidden = shown <= most;
      more.textContent = `More images (${shown - most})`;
    };
    filters.addEventListener("change", () => { most = 10; choose(); });
    more.addEventListener("click", () => { most += 20; choose(); });
    choose();
  }

  // A picture, larger.
  const zoom = document.getElementById("zoom");
  document.addEventListener("click", (event) => {
    if (event.target.matches(".views img, .pairs img, .strips img")) { zoom.firstElementChild.src = event.target.src; zoom.firstElementChild.alt = event.target.alt; zoom.showModal(); }
    else if (event.target.closest("#zoom")) zoom.close();
  });

  // Contents: closed on a phone, where one is marked on a wide screen.
  const contents = document.querySelector("nav details");
  if (matchMedia("(max-width: 600px)").matches) contents.open = false;
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  document.querySelectorAll("section").forEach((section) => watcher.observe(section));
  // What is folded is printed too.
  addEventListener("beforeprint", () => document.querySelectorAll("section details").forEach((d) => { d.open = true; }));
})();
