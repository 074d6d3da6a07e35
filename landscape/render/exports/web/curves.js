// Curves over one direction: drawing as SVG, controls, and the values at the pointer.

const state = { metric: page.metric, scale: page.groups[page.metric].scale, band: true, hidden: new Set() };
const current = () => page.groups[state.metric].scales[state.scale];
const [plot, svg, tip] = [".plot", ".plot svg", ".tip"].map((name) => document.querySelector(name));
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const isDark = () => getComputedStyle(document.documentElement).getPropertyValue("--ground").trim() !== "#ffffff";

/** The curves of the metric that is shown, each with its key, name, colour and dashes. */
function curves() {
  const { names } = page.groups[state.metric], several = page.panels.length > 1;
  return page.panels.flatMap((panel, i) => names.map((name, j) => ({ panel, name, i, j })))
    .filter(({ panel, name }) => name in panel.values)
    .map(({ panel, name, i, j }) => {
      const measure = page.metrics[name], said = several ? [panel.name, ...(names.length > 1 ? [measure.split] : [])] : [measure.label];
      return { panel, values: panel.values[name], errors: panel.values[`${name}_stderr`], key: `${i} ${name}`, said: said.join(", "),
        dash: DASHES[j % DASHES.length], colour: panel.colours[isDark() ? 1 : 0] };
    });
}

const shownCurves = () => curves().filter(({ key }) => !state.hidden.has(key));
/** The paths that are shown: they have a loss, so that they belong to losses only. */
const paths = () => (page.groups[state.metric].isLoss ? page.panels.flatMap((panel, i) => panel.paths.map((path, k) => ({ ...path, panel, key: `${i} path ${k}` }))) : []);

// Drawing ---------------------------------------------------------------------------------------------------------------

let frame = null; // of the last drawing: the place of the axes, and functions from data to pixels

function make(kind, attributes, text) {
  const node = document.createElementNS(svg.namespaceURI, kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function measureText(text) {
  const pen = (measureText.pen ??= document.createElement("canvas").getContext("2d"));
  pen.font = `13px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}

function layout() {
  const scale = current(), [width, height] = [plot.clientWidth, plot.clientHeight];
  const lows = page.panels.map(({ x }) => x[0]), highs = page.panels.map(({ x }) => x.at(-1));
  const [low, high] = [Math.min(...lows), Math.max(...highs)], range = scale.high - scale.low, pad = 0.03 * range;
  const left = 34 + Math.max(...scale.texts.map(measureText)), right = width - 22, top = 14, bottom = height - (page.ends ? 66 : 48);
  const x = (value) => left + (right - left) * (value - low) / (high - low || 1);
  const [least, most] = heights(scale, range);
  const y = (h) => bottom - (bottom - top) * (h - least + pad) / (most - least + 2 * pad);
  frame = { width, height, left, right, top, bottom, low, high, x, y };
  return frame;
}

/** The heights that the axis spans: those of the scale, and of bands as far as they are little beyond it. */
function heights(scale, range) {
  let [least, most] = [scale.low, scale.high];
  if (!state.band || scale.isCut) return [least, most];
  for (const { values, errors } of shownCurves()) {
    (errors ?? []).forEach((error, k) => {
      const [below, above] = [-error, error].map((shift) => height(values[k] + shift, scale));
      if (below < least) least = Math.max(below, scale.low - 0.15 * range);
      if (above > most) most = Math.min(above, scale.high + 0.15 * range);
    });
  }
  return [least, most];
}

/** Pieces of a curve without gaps: pixels of neighbouring points that have a value on the scale. */
function pieces({ panel, values }, shift = () => 0, most = current().high) {
  const scale = current(), found = [[]];
  panel.x.forEach((x, k) => {
    const h = height(values[k] + shift(k), scale);
    if (Number.isFinite(h)) found.at(-1).push([frame.x(x), frame.y(Math.min(h, most))]);
    else if (found.at(-1).length) found.push([]);
  });
  return found.filter((piece) => piece.length);
}

const outline = (points) => points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");

function draw() {
  const { width, height: tall, left, right, top, bottom, low, high, x, y } = layout(), scale = current(), parts = [];
  const text = (kind, at, said, anchor = "middle") => parts.push(make("text", { class: kind, x: at[0], y: at[1], "text-anchor": anchor }, said));
  const ticks = roundTicks(low, high, Math.max(2, Math.min(10, (right - left) / 70)));
  for (const [k, h] of scale.ticks.entries()) {
    if (h > scale.high + 1e-9) continue;
    parts.push(make("path", { class: "grid", d: `M${left} ${y(h)}H${right}` }));
    text("tick", [left - 8, y(h) + 4], scale.texts[k], "end");
  }
  const named = page.ends ? [0, 1].filter((at) => at >= low - 1e-9 && at <= high + 1e-9) : [];
  for (const at of named) parts.push(make("path", { class: "end", d: `M${x(at)} ${top}V${bottom}` }));
  ticks.values.forEach((value, k) => {
    parts.push(make("path", { class: "rule", d: `M${x(value)} ${bottom}v5` }));
    text("tick", [x(value), bottom + 19], ticks.texts[k]);
  });
  for (const at of named) {
    const said = page.ends[at], half = measureText(said) / 2;
    text("name", [Math.min(Math.max(x(at), half + 2), width - half - 2), bottom + 36], said);
  }
  text("name", [(left + right) / 2, tall - 8], page.label);
  parts.push(make("text", { class: "name", transform: `translate(13 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, page.groups[state.metric].label));
  const shown = shownCurves(), clip = { "clip-path": "url(#inside)" };
  for (const curve of shown) {
    const { errors, colour } = curve;
    if (!errors || !state.band) continue;
    const [above, below] = [1, -1].map((sign) => pieces(curve, (k) => {
      const h = height(curve.values[k] - errors[k], scale); // a band that leaves a log scale ends at its bottom
      return Number.isNaN(errors[k]) ? NaN : sign > 0 ? errors[k] : Number.isFinite(h) ? -errors[k] : valueAt(scale.low, scale) - curve.values[k];
    }, scale.isCut ? scale.high : 2 * scale.high - scale.low));
    above.forEach((piece, k) => below[k] && parts.push(make("path", { ...clip, d: `${outline([...piece, ...below[k].reverse()])}Z`, fill: colour, opacity: 0.18 })));
  }
  for (const curve of shown) {
    const line = pieces(curve);
    parts.push(make("path", { ...clip, class: "curve", d: line.map(outline).join(""), stroke: curve.colour, "stroke-dasharray": curve.dash }));
    const apart = (right - left) / Math.max(1, curve.panel.x.length - 1) > 9;
    for (const piece of line) if (apart || piece.length === 1) for (const [cx, cy] of piece) parts.push(make("circle", { cx, cy, r: 2.6, fill: curve.colour }));
  }
  for (const path of paths().filter(({ key }) => !state.hidden.has(key))) parts.push(...drawPath(path));
  parts.push(make("rect", { class: "rule", x: left, y: top, width: right - left, height: bottom - top, fill: "none" }));
  const inside = make("clipPath", { id: "inside" });
  inside.append(make("rect", { x: left, y: top, width: right - left, height: bottom - top }));
  svg.setAttribute("viewBox", `0 0 ${width} ${tall}`);
  svg.replaceChildren(inside, ...parts, make("g", { class: "cursor" }));
  showAt(cursor);
  document.documentElement.dataset.drawn = 1 + Number(document.documentElement.dataset.drawn ?? 0);
}

function drawPath({ panel, x, loss, colours }) {
  const colour = colours[isDark() ? 1 : 0], values = panel.values[page.groups[state.metric].names[0]];
  const on = (at) => {
    const [k, u] = locate(panel.x, at);
    return values ? (1 - u) * values[k] + u * values[k + 1] : NaN;
  };
  const points = [...x].map((at, k) => [frame.x(at), frame.y(height(Number.isNaN(loss[k]) ? on(at) : loss[k], current()))]).filter(([, py]) => Number.isFinite(py));
  if (!points.length) return [];
  const [[sx, sy], [ex, ey]] = [points[0], points.at(-1)];
  const star = Array.from({ length: 10 }, (_, k) => [ex + (k % 2 ? 3.4 : 8) * Math.sin(k * Math.PI / 5), ey - (k % 2 ? 3.4 : 8) * Math.cos(k * Math.PI / 5)]);
  return [
    make("path", { class: "path", d: outline(points), stroke: colour }), ...points.map(([cx, cy]) => make("circle", { cx, cy, r: 2.4, fill: colour })),
    make("circle", { cx: sx, cy: sy, r: 5, fill: "var(--ground)", stroke: colour, "stroke-width": 2 }), make("path", { d: `${outline(star)}Z`, fill: colour, stroke: "var(--ground)" }),
  ];
}

// Values at the pointer ----------------------------------------------------------------------------------------------

const places = [...new Set(page.panels.flatMap(({ x }) => [...x]))].sort((a, b) => a - b);
let cursor = null; // index among the places

function rowsAt(k) {
  return shownCurves().flatMap((curve) => {
    const n = curve.panel.x.indexOf(places[k]);
    if (n < 0) return [];
    const error = curve.errors?.[n], isMeasured = curve.panel.status[n] === DONE;
    const said = curve.panel.status[n] === 0 ? "not yet computed" : `${number(curve.values[n], 4)}${error > 0 ? ` ± ${number(error)}` : ""}${isMeasured ? "" : " (not measured in full)"}`;
    return [{ ...curve, said, h: height(curve.values[n], current()) , title: curve.said }];
  });
}

/** Show the values at a place, or none. */
function showAt(k) {
  cursor = k;
  tip.hidden = k === null;
  const mark = svg.querySelector(".cursor");
  mark?.replaceChildren();
  if (k === null || !mark) return;
  const rows = rowsAt(k), x = frame.x(places[k]), end = page.ends?.[places[k]];
  tip.textContent = [`${page.label}: ${number(places[k], 4)}${end ? ` (${end})` : ""}`, ...rows.map(({ title, said }) => `${title}: ${said}`)].join("\n");
  mark.append(make("path", { class: "line", d: `M${x} ${frame.top}V${frame.bottom}` }));
  for (const { h, colour } of rows) if (h <= current().high + 1e-9) mark.append(make("circle", { cx: x, cy: frame.y(h), r: 4.5, fill: colour, stroke: "var(--ground)", "stroke-width": 1.5 }));
  const left = x + 14 + tip.offsetWidth > frame.width ? x - 14 - tip.offsetWidth : x + 14;
  tip.style.transform = `translate(${Math.max(4, left)}px, ${frame.top + 8}px)`;
}

function nearestPlace(px) {
  const at = frame.low + (frame.high - frame.low) * (px - frame.left) / (frame.right - frame.left);
  return nearest(places, Math.min(Math.max(at, frame.low), frame.high));
}

function connectPlot() {
  const follow = (event) => showAt(nearestPlace(event.clientX - plot.getBoundingClientRect().left));
  plot.onpointermove = plot.onpointerdown = follow;
  plot.onpointerleave = (event) => { if (event.pointerType === "mouse" && document.activeElement !== plot) showAt(null); };
  plot.onblur = () => showAt(null);
  plot.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = places.length - 1, at = cursor ?? nearest(places, 0);
    const next = { ArrowLeft: at - (cursor !== null), ArrowRight: at + (cursor !== null), Home: 0, End: last, Escape: null }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    showAt(next === null ? null : Math.min(Math.max(next, 0), last));
  };
}

// Texts and controls --------------------------------------------------------------------------------------------------

function legendEntry({ key, said, colour, dash }, isPath) {
  const item = document.createElement("li"), button = document.createElement("button"), icon = document.createElement("span");
  button.type = "button";
  button.setAttribute("aria-pressed", !state.hidden.has(key));
  icon.innerHTML = `<svg viewBox="0 0 30 16" aria-hidden="true"><path d="M0 8H30" stroke="${colour}" stroke-width="${isPath ? 3.4 : 2.4}" stroke-dasharray="${dash ?? ""}"/></svg>`;
  button.append(icon.firstChild, said);
  button.onclick = () => {
    if (!state.hidden.delete(key)) state.hidden.add(key);
    change({});
  };
  item.append(button);
  return item;
}

function describe() {
  const scale = current(), shown = curves(), { label } = page.groups[state.metric];
  element("metric").value = state.metric;
  element("scale").replaceChildren(...Object.keys(page.groups[state.metric].scales).map((kind) => new Option(kind, kind)));
  element("scale").value = state.scale;
  element("band").checked = state.band;
  element("band-label").hidden = shown.every(({ errors }) => !errors);
  const entries = shown.length > 1 || paths().length ? shown.map((curve) => legendEntry(curve)) : [];
  const runs = paths().map((path) => legendEntry({ ...path, said: path.name || "path", colour: path.colours[isDark() ? 1 : 0] }, true));
  document.querySelector(".legend").replaceChildren(...entries, ...runs);
  const bands = state.band && shown.some(({ errors }) => errors) ? ["shaded: ± 1 standard error"] : [];
  document.querySelector(".notes").textContent = [...scale.notes, ...page.notes, ...bands].join("; ");
  const sign = page.groups[state.metric].best === "highest" ? -1 : 1;
  const bests = shown.map(({ panel, values, said }) => {
    const known = [...values.keys()].filter((k) => Number.isFinite(values[k])), k = known.reduce((a, b) => (sign * values[b] < sign * values[a] ? b : a), known[0]);
    return `${said}: ${page.groups[state.metric].best} ${number(values[k])} at ${number(panel.x[k])}`;
  });
  plot.setAttribute("aria-label", [`${label} over ${page.label}`, ...bests, "left and right arrow keys read values, escape ends it"].join("; "));
  if (document.querySelector(".values").open) fillTable();
}

function fillTable() {
  const shown = shownCurves(), [head, body] = ["thead tr", "tbody"].map((name) => document.querySelector(`.values ${name}`));
  const cell = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });
  head.replaceChildren(...[page.label, ...shown.map(({ said }) => said)].map((text) => Object.assign(cell("th", text), { scope: "col" })));
  body.replaceChildren(...places.map((x) => {
    const row = document.createElement("tr");
    row.append(Object.assign(cell("th", number(x, 6)), { scope: "row" }), ...shown.map(({ panel, values }) => cell("td", panel.x.indexOf(x) < 0 ? "" : number(values[panel.x.indexOf(x)], 6))));
    return row;
  }));
}

function change(part) {
  Object.assign(state, part);
  if (!(state.metric in page.groups)) state.metric = page.metric;
  if (!(state.scale in page.groups[state.metric].scales)) state.scale = page.groups[state.metric].scale;
  describe();
  remember();
  draw();
}

/** Keep the choices in the address of the page, so that a link can hold them. */
function remember() {
  const entries = { metric: state.metric, scale: state.scale, band: state.band };
  if (state.hidden.size) entries.hidden = JSON.stringify([...state.hidden]);
  if (element("theme").value !== "auto") entries.theme = element("theme").value;
  const text = Object.entries(entries).map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
  // A page inside of another one (an output of a notebook) has no address of its own.
  try { history.replaceState(null, "", `#${text}`); } catch { /* the page works without */ }
}

function stateFromAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1)), part = {};
  for (const key of ["metric", "scale"]) if (parameters.has(key)) part[key] = parameters.get(key);
  if (parameters.has("band")) part.band = parameters.get("band") === "true";
  try { part.hidden = new Set(JSON.parse(parameters.get("hidden") ?? "[]")); } catch { part.hidden = new Set(); }
  if (["light", "dark"].includes(parameters.get("theme"))) setTheme(parameters.get("theme"));
  return part;
}

function setTheme(name) {
  element("theme").value = name;
  if (name === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
}

function build() {
  element("title").textContent = page.heading;
  element("metric").replaceChildren(...Object.entries(page.groups).map(([name, { label }]) => new Option(label, name)));
  document.querySelector(".sources").append(...page.panels.filter(({ provenance }) => provenance).map(({ name, provenance }) => {
    const details = document.createElement("details"), table = document.createElement("table");
    details.append(Object.assign(document.createElement("summary"), { textContent: page.panels.length > 1 ? `How ${name} was made` : "How this curve was made" }), table);
    table.append(...provenance.map(([key, text]) => {
      const row = document.createElement("tr");
      row.append(Object.assign(document.createElement("th"), { textContent: key, scope: "row" }), Object.assign(document.createElement("td"), { textContent: text }));
      return row;
    }));
    return details;
  }));
  element("metric").onchange = (event) => change({ metric: event.target.value, scale: null });
  element("scale").onchange = (event) => change({ scale: event.target.value });
  element("band").onchange = (event) => change({ band: event.target.checked });
  element("theme").onchange = (event) => { setTheme(event.target.value); change({}); };
  document.querySelector(".values").ontoggle = fillTable;
  window.onhashchange = () => change(stateFromAddress());
  matchMedia("(prefers-color-scheme: dark)").onchange = () => change({});
  connectPlot();
  new ResizeObserver(draw).observe(plot);
}

try {
  build();
  change(stateFromAddress());
} catch (error) {
  element("failure").textContent = `Cannot draw the page: ${error.message}`;
  element("failure").hidden = false;
  element("stage").hidden = true;
}
