// The clip so far as a row of bars; those that have been heard are stronger.

const SECONDS_A_BAR = 0.05;

export class Waveform {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
    new ResizeObserver(() => this.draw(this.heard)).observe(canvas);
  }

  clear() {
    this.peaks = [];
    this.rest = 0; // samples in the last bar
    this.draw(0);
  }

  add(samples, rate) {
    const size = Math.round(rate * SECONDS_A_BAR);
    for (const sample of samples) {
      if (this.rest === 0) this.peaks.push(0);
      const last = this.peaks.length - 1;
      this.peaks[last] = Math.max(this.peaks[last], Math.abs(sample));
      this.rest = (this.rest + 1) % size;
    }
  }

  draw(heard) {
    this.heard = heard;
    const { canvas, peaks } = this;
    const scale = devicePixelRatio;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.fillStyle = getComputedStyle(canvas).color;
    // A short clip keeps its bars at the left, a long one is squeezed.
    const step = Math.min(5, width / Math.max(1, peaks.length));
    const bar = Math.max(0.5, step - (step > 2 ? 2 : 0));
    peaks.forEach((peak, i) => {
      const tall = Math.max(3, peak * (height - 12));
      pen.globalAlpha = i * SECONDS_A_BAR < heard ? 1 : 0.35;
      pen.beginPath();
      pen.roundRect(i * step, (height - tall) / 2, bar, tall, bar / 2);
      pen.fill();
    });
  }
}
