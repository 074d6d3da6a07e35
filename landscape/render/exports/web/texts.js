// Texts of the page: controls, colour bar, legends, notes, and what the pointer shows.

function showControls() {
  const { scales, label } = page.metrics[state.metric], scale = current();
  element("metric").value = state.metric;
  element("scale").replaceChildren(...Object.keys(scales).map((kind) => new Option(kind, kind)));
  element("scale").value = state.scale;
  element("contours").checked = state.contours;
  element("smooth").checked = state.smooth;
  element("floor").checked = state.floor;
  element("top").value = state.top;
  element("top-value").textContent = number(valueAt(ceiling(scale), scale));
  element("layer").value = nearest(layers, state.layer);
  element("layer-value").textContent = layers.length ? number(state.layer) : "";
  element("step").value = state.step;
  const path = page.panels.flatMap((panel) => panel.paths).find(({ step }) => step.includes(steps[state.step]));
  element("step-value").textContent = path ? moment(path, path.step.indexOf(steps[state.step])) : "";
  element("above").setAttribute("aria-pressed", camera.above);
  const bar = element("bar"), range = ceiling(scale) - scale.low;
  bar.style.setProperty("--stops", page.metrics[state.metric].colours.join(", "));
  bar.querySelector(".label").textContent = label;
  bar.setAttribute("aria-label", `Colours of ${label}: from ${number(valueAt(scale.low, scale))} to ${number(valueAt(ceiling(scale), scale))}`);
  bar.querySelector(".ticks").replaceChildren(...scale.ticks.map((h, k) => {
    const tick = document.createElement("span");
    tick.textContent = scale.texts[k];
    tick.style.setProperty("--at", `${(100 * (h - scale.low)) / range}%`);
    return tick;
  }).filter((_, k) => scale.ticks[k] <= ceiling(scale) + 1e-9));
}

/** A sample of a line or a mark for the legend, as it is drawn. */
function icon(kind, colour) {
  const shapes = {
    line: `<path d="M0 8H30" stroke="var(--ground)" stroke-width="5"/><path d="M0 8H30" stroke="${colour}" stroke-width="3.4"/>`,
    start: `<circle cx="8" cy="8" r="5" fill="var(--ground)" stroke="var(--soft)" stroke-width="2"/>`,
    end: `<path d="M8 0l1.9 5.3 5.7.2-4.5 3.5 1.6 5.5L8 11.3l-4.7 3.2 1.6-5.5L.4 5.5l5.7-.2z" fill="var(--soft)"/>`,
    origin: `<path d="M1 8H15M8 1V15" stroke="#15171b" stroke-width="5.5"/><path d="M2.4 8H13.6M8 2.4V13.6" stroke="#fff" stroke-width="2.6"/>`,
    best: `<path d="M8 1.5L14.5 8 8 14.5 1.5 8z" fill="#fff" stroke="#15171b" stroke-width="1.6"/>`,
  };
  const wrapper = document.createElement("span");
  wrapper.innerHTML = `<svg viewBox="0 0 ${kind === "line" ? 30 : 16} 16" aria-hidden="true">${shapes[kind]}</svg>`;
  return wrapper.firstChild;
}

function legendEntry(kind, colour, name, detail, key) {
  const item = document.createElement("li"), button = document.createElement("button"), text = document.createElement("span");
  button.type = "button";
  button.setAttribute("aria-pressed", !state.hidden.has(key));
  button.title = state.hidden.has(key) ? "show" : "hide";
  text.textContent = name;
  if (detail) text.append(Object.assign(document.createElement("small"), { textContent: detail }));
  button.onclick = () => {
    const hidden = new Set(state.hidden);
    if (!hidden.delete(key)) hidden.add(key);
    change({ hidden });
  };
  button.append(icon(kind, colour), text);
  item.append(button);
  return item;
}

function mark(kind, text) {
  const item = Object.assign(document.createElement("li"), { className: "mark" });
  item.append(icon(kind), text);
  return item;
}

function describe({ panel, legend, notes, plot }, k) {
  const { label, best: word } = page.metrics[state.metric], found = best(panel), dark = theme().dark;
  const where = found === null ? "no finite value" : `${number(found.value)} at ${found.x || found.y ? "" : "the origin, "}(${number(found.x)}, ${number(found.y)})`;
  const smoothed = state.smooth && panel.refinement > 1 ? [`smoothed between ${panel.x.length} × ${panel.y.length} points`] : [];
  notes.textContent = [...current().panels[k], ...smoothed, ...(page.axesNote ? [page.axesNote] : [])].join("; ");
  const entries = panel.paths.map((path) => {
    const last = checkpointCount(path) - 1;
    const loss = [["loss", path.loss], ["loss on the plane", path.surface_loss]].find(([, values]) => !Number.isNaN(values[last]));
    const there = last < 0 ? "not started" : [
      ...(loss ? [`${loss[0]} ${number(loss[1][last])}`] : []),
      ...(Number.isNaN(path.distance[last]) ? [] : [`distance from plane ${number(path.distance[last])}`]),
    ].join(", ");
    return legendEntry("line", path.colours[dark ? 1 : 0], path.name || "path", there, path.name);
  });
  const marks = entries.length ? [mark("start", "start"), mark("end", "end")] : [];
  if (marksOrigin(panel, found)) entries.push(legendEntry("origin", "", "origin: the checkpoint itself", "", ORIGIN));
  const lowest = legendEntry("best", "", `${word} ${label}`, where, BEST);
  lowest.querySelector("small").className = "best";
  Object.assign(lowest.querySelector("small").dataset, { metric: state.metric, ...(found ?? { value: "", x: "", y: "" }) });
  legend.replaceChildren(...entries, lowest, ...marks);
  const runs = panel.paths.map(({ name }) => name).join(", ");
  plot.setAttribute("aria-label", [
    `${label} of ${panel.name || "the surface"} over ${page.labels[0]} and ${page.labels[1]}`, `${word}: ${where}`,
    ...(runs ? [`paths: ${runs}`] : []), "arrow keys turn it, plus and minus zoom, t shows it from above, 0 resets the view",
  ].join("; "));
}

/** The step of a checkpoint, and its epoch where that is known. */
function moment(path, n) {
  return Number.isNaN(path.epoch[n]) ? `${path.step[n]}` : `${path.step[n]}, epoch ${number(path.epoch[n])}`;
}

function tipText({ panel }, spot, point) {
  if (spot) {
    const path = panel.paths[spot.p], n = spot.n, rows = [path.name, `step ${moment(path, n)}`];
    for (const [name, text] of [["loss", "loss"], ["surface_loss", "loss on the plane"], ["distance", "distance from plane"],
      ["learning_rate", "learning rate"]]) {
      if (!Number.isNaN(path[name][n])) rows.push(`${text}: ${number(path[name][n])}`);
    }
    return [...rows, `at (${number(path.x[n])}, ${number(path.y[n])})`].join("\n");
  }
  const k = point.j * panel.x.length + point.i;
  const rows = [`${page.labels[0]}: ${number(panel.x[point.i])}`, `${page.labels[1]}: ${number(panel.y[point.j])}`,
    ...(panel.z ? [`${page.labels[2]}: ${number(panel.z[nearest(panel.z, state.layer)])}`] : [])];
  for (const [name, { label }] of Object.entries(page.metrics)) {
    const error = panel.values[`${name}_stderr`];
    rows.push(`${label}: ${number(panel.values[name][k])}${error ? ` ± ${number(error[k])}` : ""}`);
  }
  return [...rows, ...(panel.status[k] === DONE ? [] : ["not measured in full"])].join("\n");
}

/** Show the checkpoint, or the nearest measured point, at a pixel of a plot. */
function showTip(view, x, y) {
  const { panel, plot, tip, ring } = view, spot = view.spotAt(x, y), surface = spot ? null : view.surfaceAt(x, y);
  tip.hidden = ring.hidden = !(spot || surface);
  if (tip.hidden) return;
  const point = surface && { i: nearest(panel.x, surface.x), j: nearest(panel.y, surface.y) };
  tip.textContent = tipText(view, spot, point);
  const h = surface && view.field().measured.rows[point.j][point.i];
  const [rx, ry] = view.project(spot ? spot.at : view.position(panel.x[point.i], panel.y[point.j], h));
  ring.style.transform = `translate(${rx}px, ${ry}px)`;
  ring.hidden = !(spot || h <= ceiling(current()));
  const left = x + 18 + tip.offsetWidth > plot.clientWidth ? x - 14 - tip.offsetWidth : x + 18;
  const top = Math.min(y + 14, plot.clientHeight - tip.offsetHeight - 4);
  tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
}
