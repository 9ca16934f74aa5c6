// Plays samples that arrive piece by piece, without gaps while they keep up.

const LEAD = 0.08; // seconds between the first piece and its sound

export class Player {
  constructor(rate) {
    this.context = new AudioContext({ sampleRate: rate });
    this.rate = rate;
    this.next = 0; // when the piece after the last one is due
    this.queued = 0; // seconds handed over
  }

  play(samples) {
    if (this.context.state === "closed") return;
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    const due = Math.max(this.next, this.context.currentTime + LEAD);
    source.start(due);
    this.next = due + buffer.duration;
    this.queued += buffer.duration;
  }

  /** Seconds heard so far; waits for late pieces count as not heard. */
  get heard() {
    return Math.max(0, Math.min(this.queued, this.queued - (this.next - this.context.currentTime)));
  }

  async stop() {
    if (this.context.state !== "closed") await this.context.close();
  }
}
