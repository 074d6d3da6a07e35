// The camera of all panels, and how the first view is composed.

const DISTANCE = 5, HALF_TURN = Math.PI / 180;
/** Height of the surfaces over the longer side of their base, and elevation of the first view: see `compose`. */
const relief = { height: page.height, elevation: page.view[1] };
/** Height of the gap between the surface and the floor, if it is shown. */
const gap = () => (state.floor ? page.gap : 0);
const camera = { azimuth: page.view[0], elevation: page.view[1], zoom: 1, pan: [0, 0], above: false };
const sum = (a, b, factor = 1) => a.map((part, i) => part + factor * b[i]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/** Unit vectors to the right, upwards, and towards the camera. */
function cameraAxes({ azimuth, elevation, above } = camera) {
  const [a, e] = above ? [-90 * HALF_TURN, 90 * HALF_TURN] : [azimuth * HALF_TURN, elevation * HALF_TURN];
  const [ca, sa, ce, se] = [Math.cos(a), Math.sin(a), Math.cos(e), Math.sin(e)];
  return [[-sa, ca, 0], [-ca * se, -sa * se, ce], [ca * ce, sa * ce, se]];
}

/** Choose height and elevation, the same for all surfaces, with which they cover much of the plots at first. */
function compose() {
  if (camera.above) return;
  const moved = camera.elevation !== relief.elevation;
  let most = -Infinity, found = null;
  for (let height = 0.4; height <= 0.71; height += 0.05) {
    for (const elevation of [0, 4, 8, 12].map((more) => page.view[1] + more)) {
      relief.height = height;
      const axes = cameraAxes({ azimuth: page.view[0], elevation });
      const covered = views.reduce((total, view) => total + view.fit(axes), 0) / views.length;
      // Beyond 45% of the plot, relief counts for more than size.
      const worth = 8 * Math.min(covered, 0.45) + height - 0.02 * elevation;
      if (worth > most) [most, found] = [worth, { height, elevation, covered }];
    }
  }
  Object.assign(relief, found);
  if (!moved) camera.elevation = relief.elevation;
}

const widths = document.createElement("canvas").getContext("2d");
function textSize(text, isName) {
  widths.font = `${isName ? 13 : 12}px ${getComputedStyle(document.body).fontFamily}`;
  return [Math.ceil(widths.measureText(text).width) + 2, 15];
}
