// State, controls and texts of the page.

const steps = [...new Set(page.panels.flatMap((panel) => panel.paths.flatMap((path) => [...path.step])))];
steps.sort((a, b) => a - b);
const state = {
  metric: page.metric, scale: page.metrics[page.metric].scale, contours: true, smooth: true, floor: false, top: 100, step: steps.length - 1,
  hidden: new Set(),
};
const BEST = "\n lowest", ORIGIN = "\n origin"; // keys in `hidden` that no path has as a name
const views = [];
const current = () => page.metrics[state.metric].scales[state.scale];
const ceiling = (scale) => scale.low + ((scale.high - scale.low) * state.top) / 100;
/** The number of checkpoints of a path up to the current step. */
const checkpointCount = (path) => path.step.reduce((count, step) => count + (step <= steps[state.step]), 0);

/** The lowest measured value (for an accuracy the highest), and its coordinates. */
function best(panel) {
  const sign = page.metrics[state.metric].best === "highest" ? -1 : 1, values = panel.values[state.metric];
  let found = null;
  for (let k = 0; k < values.length; k++) {
    if (panel.status[k] !== DONE || !Number.isFinite(values[k])) continue;
    if (found === null || sign * values[k] < sign * found.value) {
      found = { value: values[k], x: panel.x[k % panel.x.length], y: panel.y[Math.floor(k / panel.x.length)] };
    }
  }
  return found;
}

/** True if the origin of a plane without paths is marked; the best point has its own mark. */
const marksOrigin = ({ paths, x, y }, found) => !paths.length && !(found && found.x === 0 && found.y === 0) && x[0] <= 0 && x.at(-1) >= 0 && y[0] <= 0 && y.at(-1) >= 0;

// Drawing -------------------------------------------------------------------------------------------------------------

let renderer = null, drawing = false, drawings = 0;

function theme() {
  const style = getComputedStyle(document.documentElement);
  const [ground, floor, ink, soft] = ["ground", "floor", "ink", "soft"].map((name) => style.getPropertyValue(`--${name}`).trim());
  return { ground, floor, ink, soft, dark: rgb(ground)[0] < 0.5 };
}

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    try {
      const colours = theme();
      for (const view of views) view.draw(renderer, colours);
    } catch (error) {
      showFailure(error);
    }
    document.documentElement.dataset.drawn = ++drawings;
  });
}

function change(part) {
  Object.assign(state, part);
  if (!(state.metric in page.metrics)) state.metric = page.metric;
  if (!(state.scale in page.metrics[state.metric].scales)) state.scale = page.metrics[state.metric].scale;
  showControls();
  views.forEach(describe);
  remember();
  draw();
}

/** Keep the choices in the address of the page, so that a link can hold them. */
function remember() {
  const { metric, scale, contours, smooth, floor, top, step } = state;
  const entries = { metric, scale, contours, smooth, floor, top, step };
  if (state.hidden.size) entries.hidden = JSON.stringify([...state.hidden]);
  entries.view = camera.above ? "above" : `${camera.azimuth.toFixed(1)},${camera.elevation.toFixed(1)},${camera.zoom.toFixed(3)}`;
  if (element("theme").value !== "auto") entries.theme = element("theme").value;
  const text = Object.entries(entries).map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
  // A page inside of another one (an output of a notebook) has no address of its own.
  try { history.replaceState(null, "", `#${text}`); } catch { /* the page works without */ }
}

/** The state in the address of the page; what is not valid is ignored. */
function stateFromAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1)), part = {};
  const within = (key, low, high) => {
    const value = Number(parameters.get(key));
    if (parameters.has(key) && Number.isFinite(value)) part[key] = Math.min(high, Math.max(low, Math.round(value)));
  };
  for (const key of ["metric", "scale"]) if (parameters.has(key)) part[key] = parameters.get(key);
  for (const key of ["contours", "smooth", "floor"]) if (parameters.has(key)) part[key] = parameters.get(key) === "true";
  within("top", 2, 100);
  within("step", Math.min(0, steps.length - 1), steps.length - 1);
  try { part.hidden = new Set(JSON.parse(parameters.get("hidden") ?? "[]")); } catch { part.hidden = new Set(); }
  const view = parameters.get("view"), numbers = (view ?? "").split(",").map(Number);
  if (view === "above") camera.above = true;
  else if (numbers.length === 3 && numbers.every(Number.isFinite)) turn(numbers[0], numbers[1], numbers[2]);
  if (["light", "dark"].includes(parameters.get("theme"))) setTheme(parameters.get("theme"));
  return part;
}

// Texts -----------------------------------------------------------------------------------------------------------------

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
  element("step").value = state.step;
  const path = page.panels.flatMap((panel) => panel.paths).find(({ step }) => step.includes(steps[state.step]));
  element("step-value").textContent = path ? `${steps[state.step]}, epoch ${number(path.epoch[path.step.indexOf(steps[state.step])])}` : "";
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

function tipText({ panel }, spot, point) {
  if (spot) {
    const path = panel.paths[spot.p], n = spot.n, rows = [path.name, `step ${path.step[n]}, epoch ${number(path.epoch[n])}`];
    for (const [name, text] of [["loss", "loss"], ["surface_loss", "loss on the plane"], ["distance", "distance from plane"],
      ["learning_rate", "learning rate"]]) {
      if (!Number.isNaN(path[name][n])) rows.push(`${text}: ${number(path[name][n])}`);
    }
    return [...rows, `at (${number(path.x[n])}, ${number(path.y[n])})`].join("\n");
  }
  const k = point.j * panel.x.length + point.i;
  const rows = [`${page.labels[0]}: ${number(panel.x[point.i])}`, `${page.labels[1]}: ${number(panel.y[point.j])}`];
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

// Controls --------------------------------------------------------------------------------------------------------------

function turn(azimuth, elevation, zoom = camera.zoom) {
  Object.assign(camera, {
    azimuth: ((azimuth + 540) % 360) - 180, elevation: Math.min(89, Math.max(-20, elevation)), zoom: Math.min(20, Math.max(0.3, zoom)), above: false,
  });
  element("above").setAttribute("aria-pressed", "false");
  draw();
}

function resetView(above = false) {
  Object.assign(camera, { azimuth: page.view[0], elevation: relief.elevation, zoom: 1, pan: [0, 0], above });
  compose();
  element("above").setAttribute("aria-pressed", above);
  remember();
  draw();
}

/** Give the plots the height that the window leaves, but not more than their width. */
function arrange() {
  const rest = Math.max(...views.map(({ section, plot }) => [...section.children].reduce((sum, part) => sum + (part === plot ? 0 : part.offsetHeight), 0)));
  const rows = Math.ceil(views.length / columns());
  const free = window.innerHeight - document.querySelector("header").offsetHeight;
  const height = Math.min(Math.max(300, free / rows - rest - 12), views[0].plot.offsetWidth);
  for (const { plot } of views) plot.style.height = `${Math.round(height)}px`;
}

function setTheme(name) {
  element("theme").value = name;
  if (name === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  views.forEach(describe);
  draw();
}

function connectPlot(view) {
  const { plot, tip, ring } = view, pointers = new Map();
  const hide = () => { tip.hidden = ring.hidden = true; };
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { distance: Math.hypot(a[0] - b[0], a[1] - b[1]), middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] };
  };
  plot.onpointerdown = (event) => {
    plot.setPointerCapture(event.pointerId);
    plot.focus({ preventScroll: true });
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    hide();
  };
  plot.onpointermove = (event) => {
    const box = plot.getBoundingClientRect(), before = pointers.get(event.pointerId);
    if (!before) return showTip(view, event.clientX - box.left, event.clientY - box.top);
    const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
    const old = pointers.size === 2 ? spread() : null;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const shift = (x, y) => { camera.pan = [camera.pan[0] + x / view.scale, camera.pan[1] - y / view.scale]; };
    if (old) {
      const now = spread();
      camera.zoom = Math.min(20, Math.max(0.3, camera.zoom * now.distance / Math.max(1, old.distance)));
      shift(now.middle[0] - old.middle[0], now.middle[1] - old.middle[1]);
      draw();
    } else if (event.shiftKey || event.buttons === 2 || camera.above) {
      shift(dx, dy);
      draw();
    } else {
      turn(camera.azimuth - 0.4 * dx, camera.elevation + 0.4 * dy);
    }
  };
  plot.onpointerup = plot.onpointercancel = (event) => {
    if (pointers.delete(event.pointerId)) remember();
  };
  plot.onpointerleave = hide;
  plot.oncontextmenu = (event) => event.preventDefault();
  plot.ondblclick = () => resetView(camera.above);
  plot.addEventListener("wheel", (event) => {
    // On a page that scrolls, the wheel zooms a plot that has the focus.
    const scrolls = document.documentElement.scrollHeight > window.innerHeight + 1;
    if (scrolls && !event.ctrlKey && document.activeElement !== plot) return;
    event.preventDefault();
    camera.zoom = Math.min(20, Math.max(0.3, camera.zoom * Math.exp(-0.0015 * event.deltaY)));
    remember();
    draw();
  }, { passive: false });
  plot.onkeydown = (event) => {
    const turns = { ArrowLeft: [5, 0], ArrowRight: [-5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (turns) turn(camera.azimuth + turns[0], camera.elevation + turns[1]);
    else if (event.key === "+" || event.key === "=") camera.zoom = Math.min(20, camera.zoom * 1.15);
    else if (event.key === "-") camera.zoom = Math.max(0.3, camera.zoom / 1.15);
    else if (event.key === "t") resetView(!camera.above);
    else if (event.key === "0") resetView();
    else return;
    event.preventDefault();
    remember();
    draw();
  };
}

function connectControls() {
  element("metric").onchange = (event) => change({ metric: event.target.value, scale: null });
  element("scale").onchange = (event) => change({ scale: event.target.value });
  element("contours").onchange = (event) => change({ contours: event.target.checked });
  element("smooth").onchange = (event) => change({ smooth: event.target.checked });
  element("floor").onchange = (event) => { state.floor = event.target.checked; compose(); change({}); };
  element("top").oninput = (event) => change({ top: Number(event.target.value) });
  element("step").oninput = (event) => change({ step: Number(event.target.value) });
  element("theme").onchange = (event) => { setTheme(event.target.value); remember(); };
  element("play").onclick = play;
  element("reset").onclick = () => resetView();
  element("above").onclick = () => resetView(!camera.above);
  window.onhashchange = () => change(stateFromAddress());
  matchMedia("(prefers-color-scheme: dark)").onchange = () => { views.forEach(describe); draw(); };
  const observer = new ResizeObserver(() => { arrange(); compose(); draw(); });
  for (const view of views) {
    connectPlot(view);
    observer.observe(view.section);
  }
}

let player = null;
async function play() {
  if (player) {
    player = null;
  } else {
    const mine = (player = {}), stride = Math.max(1, Math.round(steps.length / 200));
    element("play").textContent = "pause";
    for (let step = state.step === steps.length - 1 ? 0 : state.step; player === mine && step < steps.length; step += stride) {
      change({ step });
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
    if (player === mine) {
      change({ step: steps.length - 1 });
      player = null;
    }
  }
  if (!player) element("play").textContent = "play";
}

const columns = () => (page.panels.length === 4 ? 2 : Math.min(3, page.panels.length));

function build() {
  const main = element("panels"), count = page.panels.length;
  element("title").textContent = page.heading;
  element("stage").classList.toggle("single", count === 1);
  main.style.setProperty("--columns", columns());
  page.panels.forEach((panel) => {
    const section = document.createElement("section");
    section.append(element("panel").content.cloneNode(true));
    section.querySelector("h2").textContent = count > 1 ? panel.name : "";
    section.querySelector("tbody").append(...panel.provenance.map(([name, text]) => {
      const row = document.createElement("tr");
      row.append(Object.assign(document.createElement("th"), { textContent: name, scope: "row" }), Object.assign(document.createElement("td"), { textContent: text }));
      return row;
    }));
    main.append(section);
    views.push(new View(panel, section));
    if (count === 1) element("stage").append(section.querySelector(".side"));
  });
  element("metric").replaceChildren(...Object.entries(page.metrics).map(([name, { label }]) => new Option(label, name)));
  element("steps").hidden = steps.length === 0;
  element("step").max = Math.max(0, steps.length - 1);
  element("smooth-label").hidden = page.panels.every(({ refinement }) => refinement === 1);
}

function showFailure(error) {
  element("failure").textContent = `Cannot draw the page: ${error.message}`;
  element("failure").hidden = false;
  element("stage").hidden = true;
}

try {
  renderer = new Renderer();
  build();
  connectControls();
  change(stateFromAddress());
} catch (error) {
  showFailure(error);
}
