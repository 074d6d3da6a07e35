// The view of a panel: picture, axes with their labels, and the point under the pointer.

/** Moves of a label in pixels, the nearest first. */
const AROUND = Array.from({ length: 21 * 21 }, (_, k) => [12 * (k % 21 - 10), 12 * (Math.floor(k / 21) - 10)])
  .sort((one, other) => Math.hypot(...one) - Math.hypot(...other));

class View {
  constructor(panel, section) {
    Object.assign(this, { panel, section, fields: new Map() });
    for (const name of ["plot", "canvas", "axes", "tip", "ring", "legend", "notes"]) {
      this[name] = section.querySelector(name === "canvas" ? name : `.${name}`);
    }
    const { x, y } = panel, [wide, deep] = [x.at(-1) - x[0], y.at(-1) - y[0]];
    // True proportions, as in plots, as long as neither side is less than half of the other.
    const longest = Math.max(wide, deep);
    this.half = [wide, deep].map((side) => 0.5 * Math.max(0.5, side / longest));
    const [xMiddle, yMiddle] = [(x[0] + x.at(-1)) / 2, (y[0] + y.at(-1)) / 2];
    this.place = {
      x: (value) => (value - xMiddle) * 2 * this.half[0] / wide,
      y: (value) => (value - yMiddle) * 2 * this.half[1] / deep,
    };
    this.unplace = (p) => [xMiddle + p[0] * wide / (2 * this.half[0]), yMiddle + p[1] * deep / (2 * this.half[1])];
    const corner = (axis) => [axis[0], axis.at(-1)];
    this.floor = { x: corner(x), y: corner(y), rows: [[0, 0], [0, 0]] };
  }

  /** Vertical position of the floor; the centre of the scene is at height 0. */
  get bottom() {
    return -(relief.height + gap()) / 2;
  }

  field() {
    const key = `${state.metric} ${state.scale} ${state.smooth} ${this.panel.z ? nearest(this.panel.z, state.layer) : ""}`;
    if (!this.fields.has(key)) this.fields.set(key, new Field(this.panel, state.metric, current(), state.smooth));
    return this.fields.get(key);
  }

  elevation(h) {
    const scale = current();
    return this.bottom + gap() + (h - scale.low) * relief.height / (ceiling(scale) - scale.low);
  }

  position(x, y, h) {
    return [this.place.x(x), this.place.y(y), this.elevation(h)];
  }

  /** Position relative to the centre of the picture, in scene units, before the fit; the last part is the depth. */
  flat(p) {
    const [right, up, back] = this.camera.axes, depth = dot(back, p);
    const w = this.camera.distance ? 1 - depth / this.camera.distance : 1;
    return [dot(right, p) / w, dot(up, p) / w, depth];
  }

  /** CSS pixels of a position in the scene, from the upper left corner of the plot. */
  project(p) {
    const [x, y, depth] = this.flat(p);
    return [this.centre[0] + this.scale * x, this.centre[1] - this.scale * y, depth];
  }

  corners(z) {
    const [a, b] = this.half;
    return [[-a, -b, z], [a, -b, z], [a, b, z], [-a, b, z]];
  }

  /** The vertical edge of the box at its left, along which the values are: a position for a height of the scene. */
  pole() {
    const [x, y] = this.corners(0).reduce((found, p) => (this.flat(p)[0] < this.flat(found)[0] ? p : found));
    return (z) => [x, y, z];
  }

  /** Points that the picture must contain: the floor, the vertical axis, and the surface at about 40 by 40 points. */
  extent() {
    const field = this.field().measured, top = ceiling(current()), points = this.corners(camera.above ? 0 : this.bottom);
    if (camera.above) return points;
    points.push(this.pole()(this.elevation(top)));
    const strides = [field.x, field.y].map((axis) => Math.ceil(axis.length / 40));
    for (let j = 0; j < field.y.length; j += strides[1]) {
      for (let i = 0; i < field.x.length; i += strides[0]) {
        const h = field.rows[j][i];
        if (Number.isFinite(h)) points.push(this.position(field.x[i], field.y[j], Math.min(h, top)));
      }
    }
    return points;
  }

  /** Fit the picture into the plot, with margins for labels, and return the share that the surface covers, roughly. */
  fit(axes = cameraAxes()) {
    const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
    this.camera = { axes, distance: camera.above ? 0 : DISTANCE };
    const seen = this.extent().map((p) => this.flat(p));
    const [xs, ys] = [0, 1].map((k) => seen.map((p) => p[k]));
    const box = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const left = 10 + Math.max(...current().texts.map((text) => textSize(text)[0])); // of the vertical axis
    const margins = camera.above ? [58, 14, 12, 46] : [left, 10, 6, 22];
    const [w, h] = [width - margins[0] - margins[1], height - margins[2] - margins[3]];
    this.scale = Math.max(1, Math.min(w / (box[1] - box[0]), h / (box[3] - box[2]))) * camera.zoom;
    this.centre = [
      margins[0] + w / 2 - this.scale * ((box[0] + box[1]) / 2 - camera.pan[0]),
      margins[2] + h / 2 + this.scale * ((box[2] + box[3]) / 2 - camera.pan[1]),
    ];
    this.camera.frame = [
      2 * this.scale / width, 2 * this.scale / height, 2 * this.centre[0] / width - 1, 1 - 2 * this.centre[1] / height,
    ];
    this.size = [width, height];
    const cell = width / 40, covered = new Set(seen.slice(5).map(([x, y]) => (
      Math.floor((this.centre[0] + this.scale * x) / cell) + 1000 * Math.floor((this.centre[1] - this.scale * y) / cell)
    )));
    return covered.size * cell * cell / (width * height);
  }

  draw(renderer, theme) {
    const scale = current(), top = ceiling(scale), range = top - scale.low;
    this.fit();
    const pixels = Math.min(window.devicePixelRatio || 1, 3), [width, height] = this.size.map((part) => Math.round(part * pixels));
    if (!width || !height) return;
    const field = this.field(), { colours } = page.metrics[state.metric];
    renderer.begin(width, height, this.camera, rgb(theme.ground));
    const shown = scale.levels.map((level, k) => k).filter((k) => state.contours && scale.levels[k] < top).slice(0, MAX_LEVELS);
    const raised = (floor) => [relief.height / range, this.bottom + (floor ? 0 : gap()), range];
    const values = {
      levels: shown.map((k) => (scale.levels[k] - scale.low) / range), whites: shown.map((k) => Number(scale.decades[k] ?? false)),
      count: shown.length, pixels, ink: rgb(theme.ink), tint: rgb(theme.floor), lit: camera.above ? 0 : 1, isCut: top < scale.high || scale.isCut ? 1 : 0,
    };
    for (const key of ["levels", "whites"]) while (values[key].length < MAX_LEVELS) values[key].push(0);
    const paint = (hex, alpha = 1) => [...rgb(hex), alpha];
    const loop = (points) => points.flatMap((point, k) => [...point, ...points[(k + 1) % points.length], 1]);
    if (state.floor && !camera.above) {
      renderer.depth("visible", false);
      const floor = { ...values, isFloor: 1, relief: raised(true) };
      renderer.surface(this.floor, this.place, 0, colours, { ...floor, count: 0, isFilled: 1 });
      renderer.surface(field, this.place, scale.low, colours, { ...floor, isFilled: 0 });
    }
    renderer.depth("visible", true);
    renderer.surface(field, this.place, scale.low, colours, { ...values, isFloor: 0, relief: raised(false) });
    renderer.depth(camera.above ? "all" : "visible", false);
    renderer.lines(loop(this.corners(this.bottom)), paint(theme.soft), pixels);
    this.drawAxes(renderer, theme, pixels);
    this.drawPaths(renderer, theme, pixels, field, top);
    renderer.copyTo(this.canvas);
  }

  drawPaths(renderer, theme, pixels, field, top) {
    const last = (path) => checkpointCount(path) - 1, rim = theme.dark ? "#15171b" : "#ffffff";
    this.spots = [];
    const drawn = this.panel.paths.map((path, p) => {
      if (state.hidden.has(path.name)) return null;
      const pieces = drape(path, field, top, last(path));
      const at = pieces.map((piece) => piece.map(({ x, y, h }) => this.position(x, y, h)));
      const segments = at.flatMap((points, m) => points.slice(1).flatMap((point, k) => (
        [...points[k], ...point, widthAt(path, pieces[m][k].t)]
      )));
      const shadow = segments.map((value, k) => (k % 7 === 2 || k % 7 === 5 ? this.bottom : value));
      const dashes = at.flatMap((points) => this.dashes(points));
      const spots = pieces.flatMap((piece, m) => piece.map(({ t }, k) => ({ p, n: t, at: at[m][k] })).filter(({ n }) => Number.isInteger(n)));
      this.spots.push(...spots);
      return { path, segments, dashes, shadow, spots, colour: path.colours[theme.dark ? 1 : 0] };
    }).filter(Boolean);
    const pale = (colour) => [...sum(rgb(colour), sum(rgb(theme.floor), rgb(colour), -1), 0.4), 1];
    if (state.floor && !camera.above) for (const { shadow, colour } of drawn) renderer.lines(shadow, pale(colour), 1.6 * pixels, { bias: 0.002 });
    // What a hill hides is dashed, so that no path vanishes.
    for (const test of camera.above ? ["all"] : ["hidden", "visible"]) {
      renderer.depth(test, false);
      const faint = test === "hidden" ? 0.45 : 1, bias = 0.015;
      for (const { path, segments, dashes, spots, colour } of drawn) {
        const white = colour === "#ffffff", halo = white ? "#15171b" : rim, own = rgb(colour);
        if (faint === 1) {
          renderer.lines(segments, [...rgb(halo), 1], 3.4 * pixels, { bias, rim: 2.2 * pixels });
          renderer.lines(segments, [...own, 1], 3.4 * pixels, { bias: bias + 0.001, rim: 0.4 * pixels });
        } else {
          renderer.lines(dashes, [...own, 1], 1.8 * pixels, { bias });
        }
        const flat = (chosen) => chosen.flatMap(({ at }) => at);
        if (faint === 1 && spots.length <= 60) renderer.marks(flat(spots), { size: 2.9 * pixels, inside: own, edge: own, opacity: faint, bias: bias + 0.002 });
        renderer.marks(flat(spots.filter(({ n }) => n === 0)), {
          size: 6 * pixels, rim: 2 * pixels, inside: rgb(halo), edge: own, opacity: faint, bias: bias + 0.004,
        });
        renderer.marks(flat(spots.filter(({ n }) => n === last(path))), {
          shape: 1, size: 12 * pixels, rim: 1.1 * pixels, inside: own, edge: rgb(halo), opacity: faint, bias: bias + 0.006,
        });
      }
      const found = best(this.panel), h = found ? height(found.value, current()) : NaN;
      const origin = field.at(0, 0);
      if (marksOrigin(this.panel, found) && !state.hidden.has(ORIGIN) && origin <= top) renderer.marks(this.position(0, 0, origin), {
        shape: 3, size: 7 * pixels, rim: 1.5 * pixels, inside: [1, 1, 1], edge: rgb("#15171b"), opacity: faint, bias: bias + 0.004,
      });
      if (!state.hidden.has(BEST) && h <= top) renderer.marks(this.position(found.x, found.y, h), {
        shape: 2, size: 7.5 * pixels, rim: 1.6 * pixels, inside: [1, 1, 1], edge: rgb("#15171b"), opacity: faint, bias: bias + 0.005,
      });
    }
  }

  /** Every other four pixels of a line. */
  dashes(points) {
    const kept = [];
    let length = 0;
    for (let k = 1; k < points.length; k++) {
      const [a, b] = [this.project(points[k - 1]), this.project(points[k])], more = Math.hypot(b[0] - a[0], b[1] - a[1]);
      const parts = Math.max(1, Math.ceil(more / 4));
      for (let m = 0; m < parts; m++) {
        if ((length + (more * (m + 0.5)) / parts) % 9 > 4.5) continue;
        const between = (u) => sum(points[k - 1], sum(points[k], points[k - 1], -1), u);
        kept.push(...between(m / parts), ...between((m + 1) / parts), 1);
      }
      length += more;
    }
    return kept;
  }

  // Axes ------------------------------------------------------------------------------------------------------------

  drawAxes(renderer, theme, pixels) {
    const [right, up, back] = this.camera.axes, [a, b] = this.half, ground = this.bottom, labels = [], ticks = [], scale = current();
    const side = [back[0] >= 1e-6 && !camera.above ? 1 : -1, back[1] >= 1e-6 && !camera.above ? 1 : -1];
    const edges = [
      { axis: 0, values: this.panel.x, at: (v) => [this.place.x(v), side[1] * b, ground], out: [0, side[1], 0], middle: [0, side[1] * b, ground] },
      { axis: 1, values: this.panel.y, at: (v) => [side[0] * a, this.place.y(v), ground], out: [side[0], 0, 0], middle: [side[0] * a, 0, ground] },
    ];
    const outward = (out) => {
      const flat = [dot(right, out), -dot(up, out)], length = Math.hypot(...flat) || 1;
      return flat.map((part) => part / length);
    };
    for (const { axis, values, at, out, middle } of edges) {
      const towards = outward(out), shown = roundTicks(values[0], values.at(-1), 5);
      let reach = 0;
      shown.values.forEach((value, k) => {
        const point = at(value), size = textSize(shown.texts[k], false);
        ticks.push(...point, ...sum(point, out, 5 / this.scale), 1);
        labels.push({ text: shown.texts[k], at: this.project(point), towards, size, gap: 7, kind: "tick" });
        reach = Math.max(reach, Math.abs(towards[0]) * size[0] + Math.abs(towards[1]) * size[1]);
      });
      const size = textSize(page.labels[axis], true), kind = axis && camera.above ? "name upright" : "name";
      if (kind !== "name") size.reverse();
      labels.push({ text: page.labels[axis], at: this.project(middle), towards, size, gap: 11 + reach, kind });
    }
    if (!camera.above) {
      const at = this.pole(), pole = (h) => at(this.elevation(h));
      const top = ceiling(scale), shown = scale.ticks.map((h, k) => k).filter((k) => scale.ticks[k] <= top + 1e-9);
      ticks.push(...pole(scale.low), ...pole(top), 1);
      for (const k of shown) {
        const point = pole(scale.ticks[k]);
        ticks.push(...point, ...sum(point, right, -5 / this.scale), 1);
        labels.push({ text: scale.texts[k], at: this.project(point), towards: [-1, 0], size: textSize(scale.texts[k], false), gap: 8, kind: "tick" });
      }
    }
    renderer.depth("all", false);
    renderer.lines(ticks, [...rgb(theme.soft), 1], pixels);
    this.writeLabels(labels);
  }

  /** Place labels outwards of their points; one that would cover another or leave the plot moves, or is left out. */
  writeLabels(labels) {
    const taken = [], [width, height] = this.size;
    const free = (box) => box[0] >= 0 && box[1] >= 0 && box[2] <= width && box[3] <= height
      && taken.every((other) => box[2] + 3 < other[0] || other[2] + 3 < box[0] || box[3] < other[1] || other[3] < box[1]);
    const spans = [];
    labels.sort((one, other) => (one.kind !== "tick") - (other.kind !== "tick"));
    for (const { text, at, towards, size, gap, kind } of labels) {
      const distance = gap + 0.5 * (size[0] * Math.abs(towards[0]) + size[1] * Math.abs(towards[1]));
      // A name that has no room beside the middle of its axis gets the nearest place further out or along the axis.
      const isOutside = ([dx, dy]) => dx * towards[0] + dy * towards[1] >= -8;
      const moves = kind === "tick" ? [[0, 0]] : [...AROUND.filter(isOutside), ...AROUND.filter((move) => !isOutside(move))];
      for (const [dx, dy] of moves) {
        const middle = [at[0] + distance * towards[0] + dx, at[1] + distance * towards[1] + dy];
        let left = middle[0] - size[0] / 2;
        if (kind !== "tick") left = Math.min(Math.max(left, 2), width - size[0] - 2);
        const box = [left, middle[1] - size[1] / 2, left + size[0], middle[1] + size[1] / 2];
        if (!free(box)) continue;
        taken.push(box);
        spans.push({ text, kind, box });
        break;
      }
    }
    while (this.axes.children.length < spans.length) this.axes.append(document.createElement("span"));
    [...this.axes.children].forEach((span, k) => {
      span.hidden = k >= spans.length;
      if (span.hidden) return;
      const { text, kind, box } = spans[k];
      span.className = kind;
      if (span.textContent !== text) span.replaceChildren(Object.assign(document.createElement("b"), { textContent: text }));
      span.style.transform = `translate(${box[0].toFixed(1)}px, ${box[1].toFixed(1)}px)`;
    });
  }

  // The point under the pointer ---------------------------------------------------------------------------------

  /** The checkpoint of a path near a pixel, or null. */
  spotAt(x, y) {
    let found = null, nearestDistance = 9;
    for (const spot of this.spots ?? []) {
      const [sx, sy] = this.project(spot.at), distance = Math.hypot(sx - x, sy - y);
      if (distance < nearestDistance) [found, nearestDistance] = [spot, distance];
    }
    return found;
  }

  /** Coordinates and height of the surface at a pixel, or null. */
  surfaceAt(px, py) {
    const [right, up, back] = this.camera.axes, field = this.field(), top = ceiling(current());
    const plane = sum(right.map((part) => part * (px - this.centre[0]) / this.scale), up, (this.centre[1] - py) / this.scale);
    const eye = this.camera.distance ? back.map((part) => part * this.camera.distance) : sum(plane, back, DISTANCE);
    const ray = sum(plane, eye, -1), length = Math.sqrt(dot(ray, ray)), step = ray.map((part) => part / length);
    const probe = (s) => {
      const p = sum(eye, step, s), [x, y] = this.unplace(p), h = field.at(x, y);
      return { x, y, h, above: h <= top ? p[2] - this.elevation(h) : NaN };
    };
    let before = probe(DISTANCE - 1.4);
    for (let s = DISTANCE - 1.4; s < DISTANCE + 1.4; s += 0.006) {
      const here = probe(s);
      if (before.above * here.above <= 0) return here;
      before = here;
    }
    return null;
  }
}
