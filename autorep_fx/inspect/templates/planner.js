"use strict";
{
  const data = JSON.parse(document.getElementById("points").textContent);
  const by = (id) => document.getElementById(id);
  const rows = [...document.querySelectorAll(".points:not(.reached) tbody tr")];
  const shown = (value) => !isFinite(value) ? "-" : value === 0 ? "0"
    : value >= 100 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toLocaleString("en", {maximumSignificantDigits: 3});
  const update = () => {
    const point = data.points[by("budget").value], where = by("where").value;
    const alone = by("maker").value === "alone" && point.alone[where], price = alone || point.prices[where];
    const requests = Math.max(0, Number(by("requests").value)), bytes = price.online + price.offline;
    const cores = (alone ? 2 : 3) * price.core_seconds * requests / 3600, traffic = bytes * requests / 1e9;
    const share = rows[by("budget").value].querySelector(".share").textContent;
    by("chosen").textContent = `${point.relus.toLocaleString("en")} kept (${share}), ${point.forms} at the rest`;
    const values = {
      time: 1e3 * price.seconds, rounds: price.rounds, online: price.online / 1e3, offline: price.offline / 1e6, before: 1e3 * price.offline_seconds, traffic,
      storage: price.offline * requests / 1e9, cores, price: traffic * by("gigabyte").value + cores * by("corehour").value,
    };
    for (const [id, value] of Object.entries(values)) by(id).textContent = shown(value);
    rows.forEach((row, i) => row.classList.toggle("current", i == by("budget").value));
  };
  by("planner").addEventListener("input", update);
  by("planner").addEventListener("submit", (event) => event.preventDefault());
  rows.forEach((row, i) => row.addEventListener("click", () => { by("budget").value = i; update(); }));
  update();
}
