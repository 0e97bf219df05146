"use strict";
const page = JSON.parse(document.getElementById("page-data").textContent);
const find = selector => [...document.querySelectorAll(selector)];
const settings = {
  responsive: true, displaylogo: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
};
const mark = {
  mode: "markers", showlegend: false, hoverinfo: "skip",
  marker: { size: 13, color: "#fff", line: { color: "#000", width: 3 }, symbol: "circle" },
};
const drawn = {};  // by name: where the marks of the slider are among the traces
let wanted = 0;  // the row at the slider

function draw(name, figure) {
  const box = document.getElementById(name), follow = figure.follow || [];
  const path = page.path, traces = [...figure.data];
  const marks = follow.map((axes, i) => {
    const solid = "z" in axes;
    const trace = { ...mark, ...axes.where, type: solid ? "scatter3d" : "scatter" };
    if (solid) trace.marker = { size: 7, color: "#000" };
    for (const axis of "xyz") if (axis in axes) trace[axis] = [path[axes[axis]][wanted]];
    traces.push(trace);
    return [figure.data.length + i, axes];
  });
  const layout = { ...figure.layout };
  if (window.innerWidth < 600) layout.margin = { ...layout.margin, l: 8, r: 8 };
  // a box hides its run in figures that are drawn later, too
  const hidden = find("input[data-run]:not(:checked)").map(box => +box.dataset.run);
  for (const trace of traces) if (hidden.includes(trace.meta)) trace.visible = false;
  return Plotly.newPlot(box, traces, layout, settings).then(() => { drawn[name] = marks; });
}

// --- the slider over the path ---

const range = document.getElementById("step"), play = document.getElementById("play");
const sheet = new Image();
let timer = null, waiting = false;

const shown = (column, i) => {
  const value = page.path[column][i];
  if (typeof value !== "number") return value ?? "?";
  const small = value !== 0 && Math.abs(value) < 1e-3;
  return small ? value.toExponential(1) : String(+value.toPrecision(4));
};

function frameAt(step) {  // the last one that was taken until then
  const steps = page.frames.steps;
  let index = 0;
  while (index + 1 < steps.length && steps[index + 1] <= step) index++;
  return index;
}

function tiles(i) {
  const { width, height, lines } = page.frames, frame = frameAt(page.path.step[i]);
  find("canvas[data-tile]").forEach(canvas => {
    const context = canvas.getContext("2d"), row = +canvas.dataset.tile;
    context.imageSmoothingEnabled = false;
    context.drawImage(sheet, frame * width, row * height, width, height,
      0, 0, canvas.width, canvas.height);
  });
}

function move() {
  waiting = false;
  const i = wanted, row = name => shown(name, i), steps = page.path.step.length;
  document.getElementById("where").textContent =
    `row ${i + 1} of ${steps} · ${row("stroke")} · step ${row("step")} · t = ${row("s")}`;
  find("[data-column]").forEach(cell => {
    cell.textContent = row(cell.dataset.column);
    cell.title = page.path[cell.dataset.column][i] ?? "not measured";
  });
  for (const [name, marks] of Object.entries(drawn))
    for (const [trace, axes] of marks) {
      const point = {};
      for (const axis of "xyz") if (axis in axes) point[axis] = [[page.path[axes[axis]][i]]];
      Plotly.restyle(name, point, [trace]);
    }
  if (page.frames && sheet.complete) tiles(i);
}

function go(i) {
  wanted = i;
  range.value = i;
  if (!waiting) requestAnimationFrame(move);
  waiting = true;
}

if (range) {
  range.oninput = () => go(+range.value);
  play.onclick = () => {
    const stop = timer !== null;
    clearInterval(timer);
    timer = null;
    play.textContent = stop ? "▶ play" : "❚❚ stop";
    if (stop) return;
    const last = +range.max, hop = Math.max(1, Math.round(last / 100));
    if (wanted >= last) go(0);
    timer = setInterval(() => wanted < last ? go(Math.min(wanted + hop, last)) : play.onclick(), 150);
  };
  if (page.frames) {
    sheet.onload = () => tiles(wanted);
    sheet.src = page.frames.image;
  }
}

// --- runs beside each other ---

const table = document.querySelector("table.runs");
find("table.runs th").forEach((th, column) => th.onclick = () => {
  const sign = th.ariaSort === "ascending" ? -1 : 1;
  find("table.runs th").forEach(other => other.removeAttribute("aria-sort"));
  th.ariaSort = sign > 0 ? "ascending" : "descending";
  const rank = row => row.cells[column].dataset.rank;  // a row without a value comes last
  const order = (a, b) => rank(a) === undefined || rank(b) === undefined
    ? (rank(a) === undefined) - (rank(b) === undefined) : sign * (rank(a) - rank(b));
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
});
find("input[data-run]").forEach(box => box.onchange = () =>
  Object.keys(drawn).forEach(name => {
    const traces = page.figures[name].data.flatMap((trace, i) => trace.meta === +box.dataset.run ? [i] : []);
    if (traces.length) Plotly.restyle(name, { visible: box.checked }, traces);
  }));

// --- figures are drawn when they come into sight, so that a long page opens at once ---

const ready = () => {
  if (range && !waiting) move();
  document.body.dataset.ready = "yes";
};
const watch = new IntersectionObserver(entries => {
  const seen = entries.filter(entry => entry.isIntersecting).map(entry => entry.target);
  seen.forEach(box => watch.unobserve(box));
  Promise.all(seen.map(box => draw(box.id, page.figures[box.id]))).then(ready);
}, { rootMargin: "100px" });
const names = Object.keys(page.figures);
names.forEach(name => watch.observe(document.getElementById(name)));
window.onbeforeprint = () => names.filter(name => !(name in drawn)).forEach(
  name => draw(name, page.figures[name]));
if (range) move();
if (!names.length) ready();
