// Controls, cameras and drawing of a page. The traces are in page_traces.js.

let camera = null;
let parallel = false;

/** The side from which least is hidden, as near as the axis labels allow in the narrowest panel. */
function defaultView() {
  const shapes = plots.map(({ plot }) => plot.clientWidth / Math.max(1, plot.clientHeight));
  const distance = 1.95 * Math.max(1, 1.4 / Math.min(...shapes));
  const [x, y, z] = page.view.map((part) => distance * part);
  return { eye: { x, y, z }, up: { x: 0, y: 0, z: 1 }, center: { x: 0, y: 0, z: -0.1 } };
}

// Not exactly vertical, because the up vector would be undefined. Used with parallel rays, which hide nothing.
const topView = () => ({
  eye: { x: 0, y: -0.001, z: 2 }, up: { x: 0, y: 1, z: 0 }, center: { x: 0, y: 0, z: 0 },
});

function showControls() {
  const { scales } = page.metrics[state.metric];
  element("metric").value = state.metric;
  element("scale").replaceChildren(...Object.keys(scales).map((kind) => new Option(kind, kind)));
  element("scale").value = state.scale;
  element("contours").checked = state.contours;
  element("top").value = state.top;
  element("top-value").textContent = number(valueAt(ceiling(current()), current()));
  element("step").value = state.step;
  const path = page.panels.flatMap((panel) => panel.paths).find(({ step }) => step.includes(steps[state.step]));
  element("step-value").textContent = path
    ? `${steps[state.step]}, epoch ${number(path.epoch[path.step.indexOf(steps[state.step])])}` : "";
}

let running = null, again = false, drawings = 0;

/** Draw the current state; changes while drawing are drawn afterwards. */
async function draw() {
  if (running) {
    again = true;
    return running;
  }
  running = (async () => {
    do {
      again = false;
      showControls();
      const scale = current();
      await Promise.all(plots.map(({ panel, plot }, k) => {
        const found = best(panel), view = scale.panels[k];
        describe(k, found);
        const traces = [
          surfaceTrace(panel, scale, k === plots.length - 1),
          contourLines(view, scale, false), contourLines(view, scale, true), bestMarker(found, scale),
          ...panel.paths.flatMap((path, p) => pathTraces(path, view.paths[p], page.paths[k][p][1], scale)),
        ];
        return Plotly.react(plot, traces, layout(panel, scale), { responsive: true, displayModeBar: false });
      }));
    } while (again);
    running = null;
    document.documentElement.dataset.drawn = ++drawings;
  })();
  return running;
}

function change(part) {
  Object.assign(state, part);
  if (!(state.metric in page.metrics)) state.metric = page.metric;
  if (!(state.scale in page.metrics[state.metric].scales)) state.scale = page.metrics[state.metric].scale;
  const text = Object.entries(state).map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
  // A page in the frame of a notebook has no address of its own, and may not change that of the notebook.
  if (location.protocol !== "about:") history.replaceState(null, "", `#${text}`);
  return draw();
}

/** The state in the address of the page. */
function stateFromAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1)), part = {};
  const within = (key, low, high) => {
    const value = Number(parameters.get(key));
    if (parameters.has(key) && Number.isFinite(value)) part[key] = Math.min(high, Math.max(low, Math.round(value)));
  };
  if (parameters.has("metric")) part.metric = parameters.get("metric");
  if (parameters.has("scale")) part.scale = parameters.get("scale");
  if (parameters.has("contours")) part.contours = parameters.get("contours") === "true";
  within("top", 2, 100);
  within("step", Math.min(0, steps.length - 1), steps.length - 1);
  return part;
}

function setCamera(from, orthographic) {
  camera = from;
  parallel = orthographic;
  return draw();
}

let turning = false, leader = 0;
const currentCamera = (k) => plots[k].plot._fullLayout.scene._scene.getCamera();

/** Copy the camera of panel `k` to all panels, frame by frame, until it is at rest: it moves on after a drag. */
async function syncCameras(k) {
  leader = k;
  if (turning) return;
  turning = true;
  let shown = "";
  for (let still = 0; still < 4; still += 1) {
    await new Promise(requestAnimationFrame);
    const { eye, up, center } = currentCamera(leader), now = JSON.stringify([leader, eye, up, center]);
    if (now === shown) continue;
    [shown, still, camera] = [now, 0, { eye, up, center }];
    const update = { "scene.camera.eye": eye, "scene.camera.up": up, "scene.camera.center": center };
    const others = plots.filter((_, other) => other !== leader);
    await Promise.all(others.map(({ plot }) => Plotly.relayout(plot, update)));
  }
  turning = false;
}

function build() {
  const main = element("panels");
  main.style.gridTemplateColumns = `repeat(${Math.min(3, page.panels.length)}, minmax(0, 1fr))`;
  page.panels.forEach((panel, k) => {
    const section = document.createElement("section");
    section.append(element("panel").content.cloneNode(true));
    section.querySelector("h2").textContent = page.panels.length > 1 ? panel.name : "";
    section.querySelector("pre").textContent = panel.provenance;
    main.append(section);
    plots.push({ panel, section, plot: section.querySelector(".plot") });
  });
  const options = Object.entries(page.metrics).map(([name, { label }]) => new Option(label, name));
  element("metric").replaceChildren(...options);
  element("steps").hidden = steps.length === 0;
  element("step").max = Math.max(0, steps.length - 1);
}

function connectControls() {
  element("metric").onchange = (event) => change({ metric: event.target.value, scale: null });
  element("scale").onchange = (event) => change({ scale: event.target.value });
  element("contours").onchange = (event) => change({ contours: event.target.checked });
  element("top").oninput = (event) => change({ top: Number(event.target.value) });
  element("step").oninput = (event) => change({ step: Number(event.target.value) });
  element("play").onclick = play;
  element("reset").onclick = () => setCamera(defaultView(), false);
  element("above").onclick = () => setCamera(topView(), true);
  window.onhashchange = () => change(stateFromAddress());
  plots.forEach(({ plot, section }, k) => {
    plot.on("plotly_hover", (event) => showTip(k, event));
    plot.on("plotly_unhover", () => { section.querySelector(".tip").hidden = true; });
    plot.on("plotly_relayouting", () => syncCameras(k));
    // The other panels report the copied camera like a user's drag; those events are ignored.
    plot.on("plotly_relayout", () => { if (!turning || k === leader) syncCameras(k); });
  });
}

let player = null;
async function play() {
  if (player) {
    player = null;
  } else {
    const mine = (player = {});
    element("play").textContent = "pause";
    let step = state.step === steps.length - 1 ? 0 : state.step;
    const stride = Math.max(1, Math.round(steps.length / 200));
    for (; player === mine && step < steps.length; step += stride) {
      await change({ step });
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
    if (player === mine) {
      await change({ step: steps.length - 1 });
      player = null;
    }
  }
  if (!player) element("play").textContent = "play";
}

function showFailure(text) {
  element("failure").textContent = text;
  element("failure").hidden = false;
  element("panels").hidden = true;
}

const canvas = document.createElement("canvas");
if (!(canvas.getContext("webgl2") || canvas.getContext("webgl"))) {
  showFailure("This page needs WebGL, which is disabled or not supported in this browser.");
} else if (typeof Plotly === "undefined") {
  showFailure("The drawing library, plotly.js, could not be loaded from the web.");
} else {
  build();
  camera = defaultView();
  change(stateFromAddress()).then(connectControls, (error) => showFailure(`Cannot draw the page: ${error.message}`));
}
