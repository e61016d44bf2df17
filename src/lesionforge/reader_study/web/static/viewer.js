// A viewer for stacks of whole numbers: window, slices, zoom, pan and a marked region, by mouse, touch and keys.
// x, y are pixels of the image, from its upper left corner; screen positions are pixels of the canvas.

const ZOOM = { least: 0.5, most: 20, step: 1.25 };
const DRAG_WIDTHS = 1; // a drag across the canvas changes the window by this many of its widths
const LEAST_WIDTH = 2;
const LEAST_REGION = 2;

export class Viewer {
  constructor(canvas, { shape, presets, window: preset, markable, onChange }) {
    [this.depth, this.height, this.width] = shape;
    this.canvas = canvas;
    this.presets = presets;
    this.markable = markable;
    this.onChange = onChange;
    this.gesture = "window";
    this.slicePixels = document.createElement("canvas");
    this.slicePixels.width = this.width;
    this.slicePixels.height = this.height;
    this.pointers = new Map();
    this.values = null;
    this.choosePreset(preset);
    this.reset();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // Show an item: [z, y, x] of 16 bits, the lowest byte first. Window and gesture stay as the reader has set them.
  show(bytes) {
    const view = new DataView(bytes);
    this.values = Int16Array.from({ length: bytes.byteLength / 2 }, (_, at) => view.getInt16(2 * at, true));
    this.region = null;
    this.reset();
  }

  clear() {
    this.values = null;
    this.region = null;
    this.draw();
  }

  reset() {
    this.zoom = 1;
    this.shiftX = this.shiftY = 0;
    this.slice = Math.floor(this.depth / 2);
    this.draw();
  }

  choosePreset(name) {
    [this.low, this.high] = this.presets[name];
    this.draw();
  }

  get preset() {
    return Object.keys(this.presets).find((name) => this.presets[name][0] === this.low && this.presets[name][1] === this.high);
  }

  // Level and width change by shares of the present width.
  changeWindow(level, width) {
    const middle = (this.low + this.high) / 2 + level * (this.high - this.low);
    const half = Math.max(LEAST_WIDTH, (this.high - this.low) * (1 + width)) / 2;
    [this.low, this.high] = [middle - half, middle + half];
    this.draw();
  }

  goToSlice(slice) {
    this.slice = Math.min(this.depth - 1, Math.max(0, Math.round(slice)));
    this.draw();
  }

  // What lies under the screen position stays there.
  zoomBy(factor, at = this.centre) {
    const zoom = Math.min(ZOOM.most, Math.max(ZOOM.least, this.zoom * factor));
    const gain = zoom / this.zoom;
    this.shiftX = (at.x - this.centre.x) * (1 - gain) + this.shiftX * gain;
    this.shiftY = (at.y - this.centre.y) * (1 - gain) + this.shiftY * gain;
    this.zoom = zoom;
    this.draw();
  }

  zoomStep(direction) {
    this.zoomBy(ZOOM.step ** direction);
  }

  pan(dx, dy) {
    this.shiftX += dx;
    this.shiftY += dy;
    this.draw();
  }

  // A region of image pixels, inside the image and large enough to be meant.
  mark(x0, y0, x1, y1) {
    const clamp = (value, most) => Math.min(most, Math.max(0, value));
    const [left, right] = [Math.min(x0, x1), Math.max(x0, x1)].map((x) => clamp(x, this.width));
    const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1)].map((y) => clamp(y, this.height));
    const enough = right - left >= LEAST_REGION && bottom - top >= LEAST_REGION;
    this.region = enough ? { slice: this.slice, top, left, bottom, right } : null;
    this.draw();
  }

  // By keys: a region in the middle first, then moved or resized.
  nudgeRegion(dx, dy, resize) {
    const { width, height } = this;
    const now = this.region ?? { top: height / 3, left: width / 3, bottom: (2 * height) / 3, right: (2 * width) / 3 };
    const stepX = (this.region ? dx * width : 0) / 32;
    const stepY = (this.region ? dy * height : 0) / 32;
    const moved = resize ? 0 : 1;
    const right = Math.max(now.right + stepX, now.left + LEAST_REGION);
    const bottom = Math.max(now.bottom + stepY, now.top + LEAST_REGION);
    this.mark(now.left + moved * stepX, now.top + moved * stepY, right, bottom);
  }

  unmark() {
    this.region = null;
    this.draw();
  }

  get centre() {
    return { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 };
  }

  get scale() {
    return this.zoom * Math.min(this.canvas.clientWidth / this.width, this.canvas.clientHeight / this.height);
  }

  imageAt(screen) {
    const { x, y } = this.centre;
    const scale = this.scale;
    return {
      x: (screen.x - x - this.shiftX) / scale + this.width / 2,
      y: (screen.y - y - this.shiftY) / scale + this.height / 2,
    };
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (this.canvas.width !== Math.round(width * ratio)) this.canvas.width = Math.round(width * ratio);
    if (this.canvas.height !== Math.round(height * ratio)) this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.values && width && height) {
      this.slicePixels.getContext("2d").putImageData(this.windowed(), 0, 0);
      const scale = this.scale * ratio;
      const { x, y } = this.centre;
      context.setTransform(scale, 0, 0, scale, (x + this.shiftX) * ratio, (y + this.shiftY) * ratio);
      context.imageSmoothingQuality = "high";
      context.drawImage(this.slicePixels, -this.width / 2, -this.height / 2);
      this.drawRegion(context, ratio / scale);
    }
    this.onChange(this);
  }

  windowed() {
    const picture = new ImageData(this.width, this.height);
    const start = this.slice * this.width * this.height;
    const gain = 255 / (this.high - this.low);
    const grey = new Uint32Array(picture.data.buffer);
    const bytes = picture.data; // clamps and rounds what is put in
    for (let at = 0; at < grey.length; at += 1) {
      const value = (this.values[start + at] - this.low) * gain;
      bytes[4 * at] = value;
      bytes[4 * at + 1] = value;
      bytes[4 * at + 2] = value;
      bytes[4 * at + 3] = 255;
    }
    return picture;
  }

  drawRegion(context, pixel) {
    const region = this.region;
    if (!region || region.slice !== this.slice) return;
    const place = [region.left - this.width / 2, region.top - this.height / 2];
    const size = [region.right - region.left, region.bottom - region.top];
    for (const [width, colour] of [[4 * pixel, "#000"], [2 * pixel, "#f0c75e"]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(...place, ...size);
    }
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      this.pointers.set(event.pointerId, this.screen(event));
      this.begun = this.imageAt(this.screen(event));
      this.button = event.button;
    });
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const direction = Math.sign(event.deltaY);
        if (this.depth > 1 && !event.ctrlKey) this.goToSlice(this.slice + direction);
        else this.zoomBy(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), this.screen(event));
      },
      { passive: false },
    );
  }

  screen(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before || !this.values) return;
    const now = this.screen(event);
    const [dx, dy] = [now.x - before.x, now.y - before.y];
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = (place) => Math.hypot(place.x - other.x, place.y - other.y);
      this.pan(dx / 2, dy / 2);
      this.zoomBy(apart(now) / Math.max(1, apart(before)), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else {
      this.drag(now, dx, dy, event.shiftKey || this.button === 1 ? "pan" : this.button === 2 ? "zoom" : this.gesture);
    }
    this.pointers.set(event.pointerId, now);
  }

  drag(now, dx, dy, gesture) {
    const { clientWidth, clientHeight } = this.canvas;
    if (gesture === "window") this.changeWindow((DRAG_WIDTHS * dy) / clientHeight, (DRAG_WIDTHS * dx) / clientWidth);
    else if (gesture === "pan") this.pan(dx, dy);
    else if (gesture === "zoom") this.zoomBy(Math.exp(-dy / 150));
    else if (gesture === "slices") this.goToSlice(((now.y / clientHeight) * this.depth) | 0);
    else if (gesture === "mark") {
      const at = this.imageAt(now);
      this.mark(this.begun.x, this.begun.y, at.x, at.y);
    }
  }
}
