// Controls, cameras and drawing of a page; page_traces.js says what is drawn.

let camera = null;
let parallel = false;

/** From the side that shows most, as near as the texts of the axes allow in the narrowest panel. */
function home() {
  const shapes = plots.map(({ plot }) => plot.clientWidth / Math.max(1, plot.clientHeight));
  const distance = 1.95 * Math.max(1, 1.4 / Math.min(...shapes));
  const [x, y, z] = page.view.map((part) => distance * part);
  return { eye: { x, y, z }, up: { x: 0, y: 0, z: 1 }, center: { x: 0, y: 0, z: -0.1 } };
}

// Not exactly from above: there is no upward direction then. Parallel rays, so that high ground hides nothing.
const above = () => ({
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

/** Draw everything as the state says; what changes meanwhile is drawn afterwards. */
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
          ground(panel, scale, k === plots.length - 1),
          contourLines(view, scale, false), contourLines(view, scale, true), bestMark(found, scale),
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
  history.replaceState(null, "", `#${text}`);
  return draw();
}

/** The state that an address names. */
function named() {
  const asked = new URLSearchParams(location.hash.slice(1)), part = {};
  const within = (key, low, high) => {
    const value = Number(asked.get(key));
    if (asked.has(key) && Number.isFinite(value)) part[key] = Math.min(high, Math.max(low, Math.round(value)));
  };
  if (asked.has("metric")) part.metric = asked.get("metric");
  if (asked.has("scale")) part.scale = asked.get("scale");
  if (asked.has("contours")) part.contours = asked.get("contours") === "true";
  within("top", 2, 100);
  within("step", Math.min(0, steps.length - 1), steps.length - 1);
  return part;
}

function look(from, orthographic) {
  camera = from;
  parallel = orthographic;
  return draw();
}

let turning = false, leader = 0;
const eyes = (k) => plots[k].plot._fullLayout.scene._scene.getCamera();

/** Give every panel the camera of panel `k`, picture by picture, until it has come to rest: it glides on a little. */
async function follow(k) {
  leader = k;
  if (turning) return;
  turning = true;
  let shown = "";
  for (let still = 0; still < 4; still += 1) {
    await new Promise(requestAnimationFrame);
    const { eye, up, center } = eyes(leader), now = JSON.stringify([leader, eye, up, center]);
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

function listen() {
  element("metric").onchange = (event) => change({ metric: event.target.value, scale: null });
  element("scale").onchange = (event) => change({ scale: event.target.value });
  element("contours").onchange = (event) => change({ contours: event.target.checked });
  element("top").oninput = (event) => change({ top: Number(event.target.value) });
  element("step").oninput = (event) => change({ step: Number(event.target.value) });
  element("play").onclick = play;
  element("reset").onclick = () => look(home(), false);
  element("above").onclick = () => look(above(), true);
  window.onhashchange = () => change(named());
  plots.forEach(({ plot, section }, k) => {
    plot.on("plotly_hover", (event) => hovered(k, event));
    plot.on("plotly_unhover", () => { section.querySelector(".tip").hidden = true; });
    plot.on("plotly_relayouting", () => follow(k));
    // What we asked of the others is answered in the same way as what the user did, and must not be followed.
    plot.on("plotly_relayout", () => { if (!turning || k === leader) follow(k); });
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

function fail(text) {
  element("failure").textContent = text;
  element("failure").hidden = false;
  element("panels").hidden = true;
}

const canvas = document.createElement("canvas");
if (!(canvas.getContext("webgl2") || canvas.getContext("webgl"))) {
  fail("This browser draws nothing in three dimensions: WebGL is switched off or not supported.");
} else {
  build();
  camera = home();
  change(named()).then(listen, (error) => fail(`The page could not be drawn: ${error.message}`));
}
