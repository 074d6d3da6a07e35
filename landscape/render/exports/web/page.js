// State, drawing and controls of the page.

const steps = [...new Set(page.panels.flatMap((panel) => panel.paths.flatMap((path) => [...path.step])))];
steps.sort((a, b) => a - b);
const state = {
  metric: page.metric, scale: page.metrics[page.metric].scale, contours: true, smooth: true, floor: false, top: 100, step: steps.length - 1,
  ...(layers.length ? { layer: layers[nearest(layers, 0)] } : {}), hidden: new Set(),
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
const marksOrigin = ({ paths, x, y, z }, found) => !paths.length && (!z || z[nearest(z, state.layer)] === 0) && !(found && found.x === 0 && found.y === 0) && x[0] <= 0 && x.at(-1) >= 0 && y[0] <= 0 && y.at(-1) >= 0;

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
  if (layers.length) entries.layer = state.layer;
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
  const layer = Number(parameters.get("layer"));
  if (layers.length && parameters.has("layer") && Number.isFinite(layer)) part.layer = layers[nearest(layers, layer)];
  within("step", Math.min(0, steps.length - 1), steps.length - 1);
  try { part.hidden = new Set(JSON.parse(parameters.get("hidden") ?? "[]")); } catch { part.hidden = new Set(); }
  const view = parameters.get("view"), numbers = (view ?? "").split(",").map(Number);
  if (view === "above") camera.above = true;
  else if (numbers.length === 3 && numbers.every(Number.isFinite)) turn(numbers[0], numbers[1], numbers[2]);
  if (["light", "dark"].includes(parameters.get("theme"))) setTheme(parameters.get("theme"));
  return part;
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
  element("layer").oninput = (event) => change({ layer: layers[Number(event.target.value)] });
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
    // Those who ask for less motion see ten stages, a second each.
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches, stages = isCalm ? 10 : 200;
    const mine = (player = {}), stride = Math.max(1, Math.round(steps.length / stages));
    element("play").textContent = "pause";
    for (let step = state.step === steps.length - 1 ? 0 : state.step; player === mine && step < steps.length; step += stride) {
      change({ step });
      await new Promise((resolve) => setTimeout(resolve, isCalm ? 1000 : 40));
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
  element("layer-label").hidden = layers.length === 0;
  element("layer").max = Math.max(0, layers.length - 1);
  element("steps").hidden = steps.length === 0;
  element("step").max = Math.max(0, steps.length - 1);
  element("smooth-label").hidden = page.panels.every(({ refinement }) => refinement === 1);
}

function showFailure(error) {
  element("failure").textContent = `Cannot draw the page: ${error.message}`;
  element("failure").hidden = false;
  for (const part of [element("stage"), document.querySelector(".controls")]) part.hidden = true;
}

try {
  renderer = new Renderer();
  build();
  connectControls();
  change(stateFromAddress());
} catch (error) {
  showFailure(error);
}
