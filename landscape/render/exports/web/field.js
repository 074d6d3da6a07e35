// Traces and layout for plotly, and the text beside the plots. Controls and cameras are in page.js.
"use strict";

const element = (id) => document.getElementById(id);
const page = JSON.parse(element("data").textContent, decodeArrays);
// Lines and markers are lifted off the surface to be visible: fractions of its height.
const LIFT = { lines: 0.008, paths: 0.016, heads: 0.035 };

const steps = [...new Set(page.panels.flatMap((panel) => panel.paths.flatMap((path) => [...path.step])))];
steps.sort((a, b) => a - b);
const state = { metric: page.metric, scale: null, contours: true, top: 100, step: steps.length - 1 };
const plots = [];

/** Decode arrays from base64 of little-endian bytes. */
function decodeArrays(key, value) {
  if (value === null || typeof value !== "object" || value.dtype === undefined) return value;
  const bytes = Uint8Array.from(atob(value.data), (c) => c.charCodeAt(0));
  const kinds = { f8: Float64Array, f4: Float32Array, u1: Uint8Array };
  const flat = new kinds[value.dtype](bytes.buffer);
  if (value.shape.length === 1) return flat;
  const [rows, columns] = value.shape;
  return Array.from({ length: rows }, (_, j) => flat.subarray(j * columns, (j + 1) * columns));
}

/** Height of a value on a scale; NaN, which makes a hole, for values that are not on the scale. */
function height(value, scale) {
  if (!Number.isFinite(value)) return NaN;
  if (scale.kind === "log") return value > 0 ? Math.log10(value) : NaN;
  return scale.kind === "symlog" ? Math.asinh(value / scale.linthresh) / Math.LN10 : value;
}

function valueAt(h, scale) {
  if (scale.kind === "log") return 10 ** h;
  return scale.kind === "symlog" ? scale.linthresh * Math.sinh(h * Math.LN10) : h;
}

function number(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "n/a" : value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e6) return String(Number(value.toPrecision(5))).replace("-", "−");
  const [mantissa, power] = value.toExponential(3).split("e");
  const raised = [...String(Number(power))].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("");
  return `${Number(mantissa)}×10${raised}`.replace("-", "−");
}

const current = () => page.metrics[state.metric].scales[state.scale];
const span = (scale) => scale.high - scale.low;
const ceiling = (scale) => scale.low + (span(scale) * state.top) / 100;
const floorOf = (scale) => scale.low - ((ceiling(scale) - scale.low) * page.gap) / page.height;

/** The lowest measured value (for an accuracy the highest), and its coordinates. */
function best(panel) {
  const sign = page.metrics[state.metric].best === "highest" ? -1 : 1;
  let found = null;
  panel.values[state.metric].forEach((row, j) => row.forEach((value, i) => {
    if (Number.isFinite(value) && (found === null || sign * value < sign * found.value)) {
      found = { value, x: panel.x[i], y: panel.y[j] };
    }
  }));
  return found;
}

/** The number of checkpoints of a path up to the current step. */
const checkpointCount = (path) => path.step.reduce((count, step) => count + (step <= steps[state.step]), 0);

// The traces of a panel ------------------------------------------------------------------------------------------

function surfaceTrace(panel, scale, last) {
  return {
    type: "surface", name: "surface", x: panel.x, y: panel.y, hoverinfo: "none", connectgaps: false,
    z: panel.values[state.metric].map((row) => Float64Array.from(row, (value) => height(value, scale))),
    colorscale: page.metrics[state.metric].colours, cmin: scale.low, cmax: ceiling(scale), showscale: last,
    colorbar: {
      tickvals: scale.ticks, ticktext: scale.texts, thickness: 14, len: 0.7, outlinewidth: 0,
      title: { text: page.metrics[state.metric].label, side: "right" },
    },
    lighting: { ambient: 0.55, diffuse: 0.75, specular: 0.12, roughness: 0.6, fresnel: 0.1 },
    lightposition: { x: -2000, y: 1000, z: 6000 },
    contours: { x: { highlight: false }, y: { highlight: false }, z: { highlight: false } },
  };
}

function contourLines(view, scale, onFloor) {
  const trace = { x: [], y: [], z: [], colours: [] };
  view.lines.forEach((lines, k) => {
    if (!state.contours || scale.levels[k] > ceiling(scale)) return;
    const z = onFloor ? floorOf(scale) : scale.levels[k] + LIFT.lines * (ceiling(scale) - scale.low);
    for (let i = 0; i < lines.x.length; i++) {
      trace.x.push(lines.x[i]);
      trace.y.push(lines.y[i]);
      trace.z.push(Number.isNaN(lines.x[i]) ? NaN : z);
      trace.colours.push(scale.levels[k]);
    }
  });
  const line = onFloor
    ? { width: 3, color: trace.colours, colorscale: page.metrics[state.metric].colours, cmin: scale.low,
        cmax: ceiling(scale) }
    : { width: 2, color: "rgba(20, 20, 20, 0.75)" };
  return scatter(onFloor ? "floor" : "contours", "lines", trace, { line, hoverinfo: "skip" });
}

function scatter(name, mode, { x, y, z }, more) {
  return { type: "scatter3d", name, mode, x, y, z, connectgaps: false, showlegend: false, ...more };
}

function bestMarker(found, scale) {
  const h = found === null ? NaN : height(found.value, scale) + LIFT.heads * (ceiling(scale) - scale.low);
  const at = Number.isNaN(h) ? { x: [], y: [], z: [] } : { x: [found.x], y: [found.y], z: [h] };
  const marker = { symbol: "diamond", size: 5, color: "#ffffff", line: { width: 1, color: "#000000" } };
  return scatter("best", "markers", at, { marker, hoverinfo: "skip" });
}

function pathTraces(path, piece, colour, scale) {
  const count = checkpointCount(path);
  const lift = LIFT.paths * (ceiling(scale) - scale.low);
  const line = { x: [], y: [], z: [] }, marks = { x: [], y: [], z: [], numbers: [] };
  for (let i = 0; i < piece.t.length; i++) {
    if (piece.t[i] > count - 1) continue; // false for NaN, which separates segments
    line.x.push(piece.x[i]);
    line.y.push(piece.y[i]);
    line.z.push(piece.h[i] + lift);
    if (Number.isInteger(piece.t[i])) {
      marks.x.push(piece.x[i]);
      marks.y.push(piece.y[i]);
      marks.z.push(piece.h[i] + lift);
      marks.numbers.push(piece.t[i]);
    }
  }
  const head = marks.numbers.indexOf(count - 1);
  const at = (values, up = 0) => (head < 0 ? [] : [values[head] + up]);
  const higher = (LIFT.heads - LIFT.paths) * (ceiling(scale) - scale.low);
  return [
    scatter(`${path.name} path`, "lines", line, { line: { width: 5, color: colour }, hoverinfo: "skip" }),
    scatter(`${path.name} checkpoints`, "markers", marks, {
      customdata: marks.numbers, hoverinfo: "none",
      marker: { size: 3, color: colour, line: { width: 1, color: "#ffffff" } },
    }),
    scatter(`${path.name} head`, "markers", { x: at(marks.x), y: at(marks.y), z: at(marks.z, higher) }, {
      hoverinfo: "skip", marker: { size: 6, color: colour, line: { width: 2, color: "#ffffff" } },
    }),
  ];
}

function layout(panel, scale) {
  const quiet = { showspikes: false, showbackground: false, gridcolor: "#dddddd", zeroline: false };
  const [x, y] = [panel.x, panel.y].map((axis) => [axis[0], axis[axis.length - 1]]);
  return {
    margin: { l: 0, r: 0, t: 0, b: 0 }, hovermode: "closest", font: { family: "system-ui, sans-serif" },
    scene: {
      xaxis: { ...quiet, title: { text: page.labels[0] }, range: x },
      yaxis: { ...quiet, title: { text: page.labels[1] }, range: y },
      // Higher values are cut by the range, which leaves a clean edge. The floor itself must not be cut.
      zaxis: {
        ...quiet, title: { text: page.metrics[state.metric].label }, tickvals: scale.ticks, ticktext: scale.texts,
        range: [floorOf(scale) - 0.01 * (ceiling(scale) - scale.low), ceiling(scale) + 1e-6 * span(scale)],
      },
      aspectmode: "manual", aspectratio: { x: 1, y: 1, z: page.height + page.gap },
      camera: { ...camera, projection: { type: parallel ? "orthographic" : "perspective" } },
    },
  };
}

// Text beside the plots --------------------------------------------------------------------------------------------

function describe(k, found) {
  const { panel, section } = plots[k];
  const { label, best: word } = page.metrics[state.metric];
  const line = section.querySelector(".best");
  Object.assign(line.dataset, { metric: state.metric, ...(found ?? { value: "", x: "", y: "" }) });
  line.textContent = found === null
    ? `no finite ${label}`
    : `${word} ${label}: ${number(found.value)} at (${number(found.x)}, ${number(found.y)})`;
  section.querySelector(".notes").textContent = current().panels[k].notes.join("; ");
  section.querySelector(".legend").replaceChildren(...panel.paths.map((path, p) => {
    const entry = document.createElement("span"), swatch = document.createElement("i");
    swatch.style.background = page.paths[k][p][1];
    const last = checkpointCount(path) - 1;
    const loss = [["loss", path.loss], ["loss on the plane", path.surface_loss]]
      .find(([, values]) => !Number.isNaN(values[last]));
    const where = last < 0 ? "not started" : [
      ...(loss ? [`${loss[0]} ${number(loss[1][last])}`] : []),
      ...(Number.isNaN(path.distance[last]) ? [] : [`distance ${number(path.distance[last])} from the plane`]),
    ].join(", ");
    entry.append(swatch, where ? `${path.name}: ${where}` : path.name);
    return entry;
  }));
}

function showTip(k, event) {
  const { panel, section } = plots[k];
  const point = event.points[0], tip = section.querySelector(".tip");
  const rows = [];
  if (point.data.type === "surface") {
    const i = nearest(panel.x, point.x), j = nearest(panel.y, point.y);
    rows.push(`${page.labels[0]}: ${number(panel.x[i])}`, `${page.labels[1]}: ${number(panel.y[j])}`);
    for (const [name, { label }] of Object.entries(page.metrics)) {
      const error = panel.values[`${name}_stderr`];
      rows.push(`${label}: ${number(panel.values[name][j][i])}${error ? ` ± ${number(error[j][i])}` : ""}`);
    }
  } else {
    const path = panel.paths.find(({ name }) => point.data.name === `${name} checkpoints`);
    const n = point.customdata;
    rows.push(path.name, `step ${path.step[n]}, epoch ${number(path.epoch[n])}`);
    rows.push(`at (${number(path.x[n])}, ${number(path.y[n])})`);
    for (const [name, text] of [["loss", "loss"], ["surface_loss", "loss on the plane"],
      ["distance", "distance from the plane"], ["learning_rate", "learning rate"]]) {
      if (!Number.isNaN(path[name][n])) rows.push(`${text}: ${number(path[name][n])}`);
    }
  }
  tip.textContent = rows.join("\n");
  tip.hidden = false;
  const box = section.getBoundingClientRect(), mouse = event.event;
  const x = (mouse?.clientX ?? box.left) - box.left, y = (mouse?.clientY ?? box.top) - box.top;
  tip.style.left = `${Math.max(0, Math.min(x + 16, box.width - tip.offsetWidth - 4))}px`;
  tip.style.top = `${Math.max(0, Math.min(y + 16, box.height - tip.offsetHeight - 4))}px`;
}

function nearest(axis, value) {
  return axis.reduce((found, here, i) => (Math.abs(here - value) < Math.abs(axis[found] - value) ? i : found), 0);
}
