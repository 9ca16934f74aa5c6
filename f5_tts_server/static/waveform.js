// The clip so far as a row of bars; those that have been heard are darker.

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
    const style = getComputedStyle(document.documentElement);
    // A short clip keeps its bars at the left, a long one is squeezed.
    const step = Math.min(4, width / Math.max(1, peaks.length));
    peaks.forEach((peak, i) => {
      const bar = Math.max(2, peak * (height - 8));
      pen.fillStyle = style.getPropertyValue(i * SECONDS_A_BAR < heard ? "--played" : "--made");
      pen.fillRect(i * step, (height - bar) / 2, Math.max(0.5, step - (step > 2 ? 1 : 0)), bar);
    });
  }
}
