"use strict";
// Data of the page: decoded arrays, scales, numbers as text, and height fields with the paths on them.

const element = (id) => document.getElementById(id);
const page = JSON.parse(element("data").textContent, decodeArrays);
const DONE = 1;

/** Values and status of a volume are those of the layer that is shown: its third coordinate is `state.layer`. */
for (const panel of page.panels ?? []) {
  if (!panel.z) continue;
  const { values, status } = panel, size = panel.x.length * panel.y.length, slices = new Map();
  const cut = (array, k) => array.subarray(k * size, (k + 1) * size);
  const slice = () => {
    const k = nearest(panel.z, state.layer);
    if (!slices.has(k)) {
      slices.set(k, { values: Object.fromEntries(Object.entries(values).map(([name, array]) => [name, cut(array, k)])), status: cut(status, k) });
    }
    return slices.get(k);
  };
  for (const key of ["values", "status"]) Object.defineProperty(panel, key, { get: () => slice()[key] });
}
/** The layers of all volumes, ascending; empty on a page of planes. */
const layers = [...new Set(page.panels.flatMap(({ z }) => [...(z ?? [])]))].sort((a, b) => a - b);

/** Decode arrays from base64 of little-endian bytes. */
function decodeArrays(key, value) {
  if (value === null || typeof value !== "object" || !value.dtype || !value.shape) return value;
  const bytes = Uint8Array.from(atob(value.data), (c) => c.charCodeAt(0));
  return value.dtype === "u1" ? bytes : new Float64Array(bytes.buffer);
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

/** A number with three significant digits. */
function number(value, digits = 3) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "n/a" : value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) return String(Number(value.toPrecision(digits))).replace("-", "−");
  const [mantissa, power] = value.toExponential(digits - 1).split("e");
  const raised = [...String(Number(power))].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("");
  return `${Number(mantissa)}×10${raised}`.replace("-", "−");
}

/** About `n` round values from `low` to `high`, with texts of equal decimals. */
function roundTicks(low, high, n) {
  const rough = (high - low) / n, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const values = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) values.push(k * step);
  const exact = (d) => values.every((value) => Math.abs(Number(value.toFixed(d)) - value) < 1e-6 * step);
  const decimals = [0, 1, 2, 3, 4, 5, 6].find(exact) ?? 6;
  const far = Math.max(Math.abs(low), Math.abs(high)) >= 1e5 || step < 1e-5;
  return { values, texts: values.map((value) => (far ? number(value, 4) : (value + 0).toFixed(decimals).replace(/^-(?=0(\.0*)?$)/, "").replace("-", "−"))) };
}

// Interpolation between measured points, as in landscape._utils.interpolation ------------------------------------

function endSlope(nearWidth, farWidth, near, far) {
  const beyond = Number.isFinite(far) ? far : near;
  let slope = ((2 * nearWidth + farWidth) * near - nearWidth * beyond) / (nearWidth + farWidth);
  if (slope * near <= 0) slope = 0;
  return near * beyond < 0 && Math.abs(slope) > 3 * Math.abs(near) ? 3 * near : slope;
}

/** Slopes of monotone cubics (Fritsch and Butland, 1984) through one row of values. */
function monotoneSlopes(axis, row) {
  const n = row.length, slopes = new Float64Array(n);
  const width = (i) => axis[i + 1] - axis[i];
  const secant = (i) => (i < 0 || i > n - 2 ? NaN : (row[i + 1] - row[i]) / width(i));
  const near = (i) => width(Math.min(Math.max(i, 0), n - 2));
  for (let i = 0; i < n; i++) {
    const left = secant(i - 1), right = secant(i);
    if (Number.isFinite(left) && Number.isFinite(right)) {
      const a = 2 * near(i) + near(i - 1), b = near(i) + 2 * near(i - 1);
      slopes[i] = left * right > 0 ? (a + b) / (a / left + b / right) : 0;
    } else if (Number.isFinite(right)) {
      slopes[i] = endSlope(near(i), near(i + 1), right, secant(i + 1));
    } else if (Number.isFinite(left)) {
      slopes[i] = endSlope(near(i - 1), near(i - 2), left, secant(i - 2));
    }
  }
  return slopes;
}

/** Interpolate each of the rows with `factor` subdivisions of each cell. */
function refineRows(axis, rows, factor, smooth) {
  return rows.map((row) => {
    const slopes = smooth ? monotoneSlopes(axis, row) : null;
    const fine = new Float64Array((row.length - 1) * factor + 1);
    for (let k = 0; k < fine.length; k++) {
      const i = Math.min(Math.floor(k / factor), row.length - 2), u = k / factor - i;
      const low = row[i], high = row[i + 1], width = axis[i + 1] - axis[i];
      if (u === 0 || u === 1) {
        fine[k] = u ? high : low;
      } else if (!smooth) {
        fine[k] = (1 - u) * low + u * high;
      } else {
        const cubic = (1 + 2 * u) * (1 - u) ** 2 * low + u * u * (3 - 2 * u) * high
          + width * (u * (1 - u) ** 2 * slopes[i] - u * u * (1 - u) * slopes[i + 1]);
        fine[k] = Math.min(Math.max(cubic, Math.min(low, high)), Math.max(low, high));
      }
    }
    return fine;
  });
}

const transpose = (rows) => Array.from(rows[0], (_, i) => Float64Array.from(rows, (row) => row[i]));
const subdivide = (axis, factor) => Float64Array.from({ length: (axis.length - 1) * factor + 1 }, (_, k) => {
  const i = Math.min(Math.floor(k / factor), axis.length - 2), u = k / factor - i;
  return (1 - u) * axis[i] + u * axis[i + 1];
});

/** Heights of a metric on a scale: `x`, `y` ascending, `rows[j][i]`, NaN where there is nothing to draw. */
class Field {
  constructor(panel, metric, scale, smooth) {
    const { x, y, refinement: factor } = panel, values = panel.values[metric];
    const rows = Array.from(y, (_, j) => Float64Array.from(x, (_, i) => height(values[j * x.length + i], scale)));
    this.x = subdivide(x, factor);
    this.y = subdivide(y, factor);
    const along = (axis, lines) => refineRows(axis, lines, factor, smooth);
    const rowsFirst = transpose(along(y, transpose(along(x, rows))));
    this.rows = rowsFirst;
    if (smooth && factor > 1) {
      const columnsFirst = along(x, transpose(along(y, transpose(rows))));
      this.rows = rowsFirst.map((row, j) => row.map((value, i) => 0.5 * (value + columnsFirst[j][i])));
    }
    this.measured = { x, y, rows };
  }

  /** Bilinear height; NaN off the grid and in holes. Corners without weight are skipped, because 0 * NaN is NaN. */
  at(x, y) {
    const [i, u] = locate(this.x, x), [j, v] = locate(this.y, y);
    if (!(u >= 0 && u <= 1 && v >= 0 && v <= 1)) return NaN;
    let sum = 0;
    for (const [dj, di, weight] of [[0, 0, (1 - u) * (1 - v)], [0, 1, u * (1 - v)], [1, 0, (1 - u) * v], [1, 1, u * v]]) {
      if (weight > 0) sum += weight * this.rows[j + dj][i + di];
    }
    return sum;
  }
}

/** Index of the cell of an ascending axis, and the position in it (outside [0, 1] off the axis). */
function locate(axis, value) {
  let low = 0, high = axis.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (axis[middle] <= value) low = middle; else high = middle;
  }
  return [low, (value - axis[low]) / (axis[low + 1] - axis[low])];
}

function nearest(axis, value) {
  return axis.reduce((found, here, i) => (Math.abs(here - value) < Math.abs(axis[found] - value) ? i : found), 0);
}

/** Width of a path at the path parameter `t`, as a share of that on the plane. */
function widthAt(path, t) {
  const n = Math.min(Math.floor(t), path.widths.length - 1), next = Math.min(n + 1, path.widths.length - 1);
  return path.widths[n] + (t - n) * (path.widths[next] - path.widths[n]);
}

/** Pieces `{t, x, y, h}` of a path on a field, up to the checkpoint `last`; it breaks off the grid and in holes. */
function drape(path, field, ceiling, last) {
  const pieces = [];
  let piece = null;
  const cell = [field.x[1] - field.x[0], field.y[1] - field.y[0]];
  for (let n = 0; n <= last; n++) {
    const moves = n < last ? [path.x[n + 1] - path.x[n], path.y[n + 1] - path.y[n]] : [0, 0];
    const count = Math.min(2000, Math.max(1, Math.ceil(Math.max(Math.abs(moves[0]) / cell[0], Math.abs(moves[1]) / cell[1]))));
    for (let k = 0; k < count; k++) {
      const x = path.x[n] + moves[0] * k / count, y = path.y[n] + moves[1] * k / count, h = field.at(x, y);
      if (h <= ceiling) {
        if (!piece) pieces.push(piece = []);
        piece.push({ t: n + k / count, x, y, h });
      } else {
        piece = null;
      }
    }
  }
  return pieces;
}
