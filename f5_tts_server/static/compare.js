// The same text and seed in several voices, side by side.

import { addressOf, fileName, makeClip } from "/static/clip.js";
import { say } from "/static/strings.js";

/**
 * Makes a clip for each voice, all at once, and shows each in an item of `list` as it comes.
 *
 * @param voices `{ name, fields }` each
 * @returns the clips, in the voices' order
 */
export function compareVoices(list, request, voices, signal) {
  list.replaceChildren();
  return Promise.all(voices.map(async (voice) => {
    const item = document.createElement("li");
    const name = Object.assign(document.createElement("strong"), { textContent: voice.name });
    const facts = Object.assign(document.createElement("span"), { className: "quiet", textContent: say("waiting") });
    item.append(name, facts);
    list.append(item);
    const show = (clip) => (facts.textContent = factsOf(clip));
    const clip = await makeClip({ ...request, ...voice.fields }, voice.name, signal, { onPiece: show });
    facts.textContent = clip.error ? clip.error.message : factsOf(clip);
    if (clip.pieces.length) {
      const address = addressOf(clip);
      const player = Object.assign(document.createElement("audio"), { controls: true, src: address });
      player.setAttribute("aria-label", `${say("play")}: ${voice.name}`);
      const link = Object.assign(document.createElement("a"), { href: address, download: fileName(clip), textContent: say("download") });
      link.setAttribute("aria-label", `${say("download")}: ${voice.name}`);
      item.append(player, link);
    }
    return clip;
  }));
}

/** What is known of a clip, in a line. */
export function factsOf(clip) {
  const facts = [`${clip.seconds.toFixed(1)} s`];
  if (clip.firstAudioMs !== null) facts.push(`${say("firstAudio")} ${say("ms", { count: Math.round(clip.firstAudioMs) })}`);
  if (clip.state === "stopped" || clip.state === "failed") facts.push(say("partial"));
  return facts.join(" · ");
}
