// The words of a clip; the one that sounds is marked.

export class Words {
  constructor(element) {
    this.element = element;
    this.clear();
  }

  clear() {
    this.element.replaceChildren();
    this.element.hidden = true;
    this.starts = []; // seconds, one for each word
    this.marked = -1;
  }

  /** Shows the words that have come: `{ text, start }` in seconds of the clip. Those that are there already stay. */
  show(words) {
    for (const { text, start } of words.slice(this.starts.length)) {
      this.starts.push(start);
      this.element.append(Object.assign(document.createElement("span"), { textContent: text }), " ");
    }
    this.element.hidden = this.starts.length === 0;
  }

  /** Marks the word that sounds at `seconds`: the last one that has begun. */
  mark(seconds) {
    const now = this.starts.findLastIndex((start) => start <= seconds);
    if (now === this.marked) return;
    const spans = this.element.children;
    spans[this.marked]?.removeAttribute("class");
    if (spans[now]) {
      spans[now].className = "sounding";
      this.element.scrollTop = spans[now].offsetTop - this.element.offsetTop - this.element.clientHeight / 2;
    }
    this.marked = now;
  }
}
