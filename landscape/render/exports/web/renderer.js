// Drawing with WebGL 2: surfaces with contour lines, lines of constant width, and marks, into the canvas of each panel.

const MAX_LEVELS = 48;
const PROJECTION = `#version 300 es
precision highp float;
uniform mat3 axes;      // rows: right, up, and towards the camera
uniform vec4 frame;     // scale and shift from scene to clip space
uniform float distance; // of the camera from the centre; 0 for parallel rays
const float radius = 1.4;
vec4 project(vec3 p, float bias) {
  vec3 q = p * axes;
  float w = distance > 0.0 ? 1.0 - q.z / distance : 1.0;
  float near = 1.0 - radius / distance, far = 1.0 + radius / distance;
  float depth = distance > 0.0 ? ((far + near) * w - 2.0 * far * near) / (far - near) : -q.z / radius;
  return vec4(frame.xy * q.xy + frame.zw * w, depth - bias * w, w);
}
`;

const SURFACE_VERTEX = `${PROJECTION}
layout(location = 0) in vec3 point; // x and y in the scene, height above the lowest
layout(location = 1) in vec2 slope;
uniform vec3 relief; // factor from heights to the scene, position of the lowest height, range of the heights
uniform float isFloor;
out float t;
out vec3 normal;
void main() {
  t = point.z / relief.z;
  normal = vec3(-slope * relief.x, 1.0);
  float z = relief.y + (isFloor > 0.5 ? 0.0 : point.z * relief.x);
  gl_Position = project(vec3(point.xy, z), 0.0);
}`;

const SURFACE_FRAGMENT = `#version 300 es
precision highp float;
in float t;
in vec3 normal;
uniform mat3 axes;
uniform sampler2D colours;
uniform float levels[${MAX_LEVELS}];
uniform float whites[${MAX_LEVELS}];
uniform int count;
uniform float pixels; // device pixels per CSS pixel
uniform float lit;
uniform float isFloor, isFilled, isCut;
uniform vec3 ink, tint;
out vec4 colour;
void main() {
  float rate = length(vec2(dFdx(t), dFdy(t)));
  float inside = clamp(0.5 + (1.0 - t) / max(rate, 1e-9), 0.0, 1.0); // 0 above the cut
  if (inside < 0.02) discard;
  vec3 base = texture(colours, vec2((clamp(t, 0.0, 1.0) * 255.0 + 0.5) / 256.0, 0.5)).rgb;
  float dark = 0.0, white = 0.0;
  if (rate > 1e-7) {
    for (int i = 0; i < count; i++) {
      float half_width = (whites[i] > 0.5 || isFloor > 0.5 ? 0.8 : 0.5) * pixels;
      float away = abs(t - levels[i]) / rate;
      // Where lines would be closer than a few pixels (walls seen edge-on) they fade.
      float gap = (i > 0 ? levels[i] - levels[i - 1] : levels[1] - levels[0]) / rate;
      float strength = clamp(half_width + 0.5 - away, 0.0, 1.0) * (count > 1 ? smoothstep(2.0, 5.0, gap / pixels) : 1.0);
      if (whites[i] > 0.5) white = max(white, strength); else dark = max(dark, strength);
    }
  }
  if (isCut > 0.5 && isFloor < 0.5) dark = max(dark, clamp(0.9 * pixels + 0.5 - (1.0 - t) / rate, 0.0, 1.0));
  if (isFloor > 0.5) {
    float line = max(dark, white);
    if (isFilled < 0.5 && line < 0.02) discard;
    colour = isFilled > 0.5 ? vec4(tint, 1.0) : vec4(mix(base, ink, 0.2) * line, line);
    return;
  }
  vec3 n = normalize(normal);
  if (!gl_FrontFacing) n = -n;
  vec3 key = normalize(vec3(-0.85, 0.75, 0.55) * transpose(axes)), fill = normalize(vec3(0.95, 0.15, 0.75) * transpose(axes));
  float light = 0.50 + 0.46 * max(dot(n, key), 0.0) + 0.20 * max(dot(n, fill), 0.0);
  vec3 shown = mix(base, base * min(light, 1.08), lit);
  if (!gl_FrontFacing) shown = mix(base * 0.82, vec3(0.5), 0.25);
  shown = mix(shown, vec3(0.06), 0.72 * dark);
  shown = mix(shown, vec3(1.0), 0.95 * white);
  colour = vec4(shown * inside, inside);
}`;

const LINE_VERTEX = `${PROJECTION}
layout(location = 0) in vec3 start;
layout(location = 1) in vec3 end;
layout(location = 2) in float thickness;
uniform vec2 viewport;
uniform float width, rim; // rim: added to the width whatever the thickness
uniform float bias;
out vec2 at;
flat out vec2 a, b;
flat out float wide;
void main() {
  vec4 first = project(start, bias), last = project(end, bias);
  a = 0.5 * viewport * first.xy / first.w;
  b = 0.5 * viewport * last.xy / last.w;
  vec2 along = length(b - a) > 1e-6 ? normalize(b - a) : vec2(1.0, 0.0), across = vec2(-along.y, along.x);
  wide = width * thickness + rim;
  float margin = 0.5 * wide + 1.0;
  bool atEnd = gl_VertexID == 1 || gl_VertexID == 3;
  at = (atEnd ? b + margin * along : a - margin * along) + (gl_VertexID < 2 ? -margin : margin) * across;
  vec4 here = atEnd ? last : first;
  gl_Position = vec4(2.0 * at / viewport, here.z / here.w, 1.0);
}`;

const LINE_FRAGMENT = `#version 300 es
precision highp float;
in vec2 at;
flat in vec2 a, b;
flat in float wide;
uniform vec4 paint;
out vec4 colour;
void main() {
  vec2 along = b - a;
  float u = clamp(dot(at - a, along) / max(dot(along, along), 1e-9), 0.0, 1.0);
  float strength = paint.a * clamp(0.5 * wide + 0.5 - length(at - a - u * along), 0.0, 1.0);
  if (strength < 0.02) discard;
  colour = vec4(paint.rgb * strength, strength);
}`;

const MARK_VERTEX = `${PROJECTION}
layout(location = 0) in vec3 centre;
uniform vec2 viewport;
uniform float size;
uniform float bias;
out vec2 at;
void main() {
  vec4 middle = project(centre, bias);
  at = (size + 2.0) * vec2(gl_VertexID % 2 == 0 ? -1.0 : 1.0, gl_VertexID < 2 ? -1.0 : 1.0);
  gl_Position = vec4(middle.xy / middle.w + 2.0 * at / viewport, middle.z / middle.w, 1.0);
}`;

const MARK_FRAGMENT = `#version 300 es
precision highp float;
in vec2 at;
uniform float size, rim, opacity;
uniform int shape; // 0 disc, 1 star, 2 diamond, 3 cross
uniform vec3 inside, edge;
out vec4 colour;
float outline(vec2 p) {
  if (shape == 0) return length(p) - size;
  if (shape == 3) {
    vec2 q = abs(p);
    return max(max(q.x, q.y) - size, min(q.x, q.y) - 0.34 * size);
  }
  if (shape == 2) return (abs(p.x) + abs(p.y) - size) * 0.7071;
  float turn = 1.2566370614;
  float angle = abs(mod(atan(p.x, p.y) + 0.5 * turn, turn) - 0.5 * turn);
  vec2 q = length(p) * vec2(cos(angle), sin(angle)), tip = vec2(size, 0.0);
  vec2 side = 0.42 * size * vec2(cos(0.5 * turn), sin(0.5 * turn)) - tip;
  return dot(q - tip, normalize(vec2(side.y, -side.x)));
}
void main() {
  float d = outline(at);
  float strength = opacity * clamp(0.5 - d, 0.0, 1.0);
  if (strength < 0.02) discard;
  colour = vec4(mix(inside, edge, clamp(d + rim + 0.5, 0.0, 1.0)) * strength, strength);
}`;

const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16) / 255);

/** Colour of a colour map at 0 to 1, between evenly spaced stops. */
function mapColour(stops, t) {
  const at = Math.min(Math.max(t, 0), 1) * (stops.length - 1), k = Math.min(Math.floor(at), stops.length - 2);
  const [a, b] = [rgb(stops[k]), rgb(stops[k + 1])];
  return a.map((part, i) => part + (b[i] - part) * (at - k));
}

/** One WebGL context for all panels; each picture is copied to the panel's own canvas, where it stays. */
class Renderer {
  constructor() {
    this.start();
  }

  start() {
    this.canvas = document.createElement("canvas");
    const gl = (this.gl = this.canvas.getContext("webgl2", { antialias: true, alpha: false }));
    if (!gl) throw new Error("this page needs WebGL 2, which is disabled or not supported in this browser");
    this.programs = {
      surface: this.program(SURFACE_VERTEX, SURFACE_FRAGMENT),
      line: this.program(LINE_VERTEX, LINE_FRAGMENT),
      mark: this.program(MARK_VERTEX, MARK_FRAGMENT),
    };
    this.meshes = new WeakMap();
    this.maps = new Map();
    this.scratch = gl.createBuffer();
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  program(vertex, fragment) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "no shaders");
    return program;
  }

  use(name, values) {
    const gl = this.gl, program = this.programs[name];
    gl.useProgram(program);
    const set = (key, method, ...more) => gl[method](gl.getUniformLocation(program, key), ...more);
    const { camera } = this;
    set("axes", "uniformMatrix3fv", false, camera.axes.flat());
    set("frame", "uniform4fv", camera.frame);
    set("distance", "uniform1f", camera.distance);
    for (const [key, value] of Object.entries(values)) {
      if (typeof value === "number") set(key, key === "shape" || key === "count" || key === "colours" ? "uniform1i" : "uniform1f", value);
      else set(key, { 2: "uniform2fv", 3: "uniform3fv", 4: "uniform4fv" }[value.length] ?? "uniform1fv", value);
    }
  }

  /** Begin the picture of a panel of `width` by `height` device pixels. */
  begin(width, height, camera, ground) {
    if (this.gl.isContextLost()) this.start(); // a browser keeps about sixteen contexts, and drops the oldest
    const gl = this.gl;
    // The canvas only grows: to resize it for each panel is slow.
    if (this.canvas.width < width) this.canvas.width = width;
    if (this.canvas.height < height) this.canvas.height = height;
    this.camera = camera;
    this.viewport = [width, height];
    gl.viewport(0, this.canvas.height - height, width, height); // the upper left corner
    gl.clearColor(...ground, 1);
    gl.depthMask(true);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  }

  copyTo(canvas) {
    const [width, height] = this.viewport;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(this.canvas, 0, 0, width, height, 0, 0, width, height);
  }

  /** Depth test: "visible", "hidden" (only what is behind something) or "all". */
  depth(test, write) {
    const gl = this.gl;
    gl[test === "all" ? "disable" : "enable"](gl.DEPTH_TEST);
    gl.depthFunc(test === "hidden" ? gl.GREATER : gl.LEQUAL);
    gl.depthMask(write);
  }

  mesh(field, place, low) {
    if (this.meshes.has(field)) return this.meshes.get(field);
    const gl = this.gl, { x, y, rows } = field, nx = x.length, ny = y.length;
    const points = new Float32Array(5 * nx * ny), cells = [];
    const slope = (left, right, here, widthLeft, widthRight) => {
      const a = (here - left) / widthLeft, b = (right - here) / widthRight;
      const found = Number.isFinite(a) && Number.isFinite(b) ? (a + b) / 2 : Number.isFinite(a) ? a : b;
      return Number.isFinite(found) ? found : 0;
    };
    const xs = x.map((value) => place.x(value)), ys = y.map((value) => place.y(value));
    for (let j = 0; j < ny; j++) {
      for (let i = 0; i < nx; i++) {
        const h = rows[j][i];
        points.set([
          xs[i], ys[j], h - low,
          slope(rows[j][i - 1], rows[j][i + 1], h, xs[i] - xs[i - 1], xs[i + 1] - xs[i]),
          slope(rows[j - 1]?.[i], rows[j + 1]?.[i], h, ys[j] - ys[j - 1], ys[j + 1] - ys[j]),
        ], 5 * (j * nx + i));
        if (i && j && Number.isFinite(h + rows[j - 1][i] + rows[j][i - 1] + rows[j - 1][i - 1])) {
          const c = j * nx + i;
          cells.push(c - nx - 1, c - nx, c, c - nx - 1, c, c - 1);
        }
      }
    }
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, points, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 20, 0);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 2, gl.FLOAT, false, 20, 12);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, new Uint32Array(cells), gl.STATIC_DRAW);
    gl.bindVertexArray(null);
    const mesh = { array, count: cells.length };
    this.meshes.set(field, mesh);
    return mesh;
  }

  colourMap(stops) {
    const gl = this.gl;
    if (!this.maps.has(stops)) {
      const texture = gl.createTexture();
      const pixels = new Uint8Array(Array.from({ length: 256 }, (_, k) => [
        ...mapColour(stops, k / 255).map((part) => Math.round(255 * part)), 255,
      ]).flat());
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      for (const key of ["MIN_FILTER", "MAG_FILTER"]) gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${key}`], gl.LINEAR);
      for (const key of ["WRAP_S", "WRAP_T"]) gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${key}`], gl.CLAMP_TO_EDGE);
      this.maps.set(stops, texture);
    }
    return this.maps.get(stops);
  }

  surface(field, place, low, stops, values) {
    const gl = this.gl, mesh = this.mesh(field, place, low);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.colourMap(stops));
    this.use("surface", { colours: 0, ...values });
    gl.bindVertexArray(mesh.array);
    gl.drawElements(gl.TRIANGLES, mesh.count, gl.UNSIGNED_INT, 0);
    gl.bindVertexArray(null);
  }

  /** Draw one instance for each row of `numbers`, which has attributes of these sizes. */
  instances(numbers, sizes) {
    const gl = this.gl, size = sizes.reduce((sum, part) => sum + part, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.scratch);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(numbers), gl.STREAM_DRAW);
    sizes.forEach((part, k) => {
      gl.enableVertexAttribArray(k);
      gl.vertexAttribPointer(k, part, gl.FLOAT, false, 4 * size, 12 * k);
      gl.vertexAttribDivisor(k, 1);
    });
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, numbers.length / size);
    sizes.forEach((_, k) => {
      gl.vertexAttribDivisor(k, 0);
      gl.disableVertexAttribArray(k);
    });
  }

  /** Draw segments: seven numbers each, both ends in the scene and the share of the width. */
  lines(segments, paint, width, { bias = 0, rim = 0 } = {}) {
    if (!segments.length) return;
    this.use("line", { viewport: this.viewport, paint, width, rim, bias });
    this.instances(segments, [3, 3, 1]);
  }

  /** Draw marks of constant size at positions: three numbers each. */
  marks(positions, { shape = 0, size, rim = 0, inside, edge, opacity = 1, bias = 0.02 }) {
    if (!positions.length) return;
    this.use("mark", { viewport: this.viewport, shape, size, rim, inside, edge, opacity, bias });
    this.instances(positions, [3]);
  }
}
