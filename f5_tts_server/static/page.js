// The page: a text, a voice, and its speech as it is being made.

import { addressOf, fileName, makeClip } from "/static/clip.js";
import * as code from "/static/code.js";
import { compareVoices, factsOf } from "/static/compare.js";
import { confirmed } from "/static/confirm.js";
import { startEditing } from "/static/edit.js";
import { forget, forgetAll, keep, kept } from "/static/history.js";
import { Player } from "/static/player.js";
import { health, setKey } from "/static/server.js";
import { RATE, samplesOf } from "/static/sound.js";
import { otherLanguage, say, translate } from "/static/strings.js";
import {
  chooseVoiceOf, chosenVoice, comparedVoices, comparing, loadVoices, showRecording, showVoices, startVoices, toggleComparison,
} from "/static/voices.js";
import { Waveform } from "/static/waveform.js";
import { Words } from "/static/words.js";

const $ = (id) => document.getElementById(id);
const CHARACTERS_A_SECOND = 15; // to guess how long a text will be, for the progress bar only
const HEALTH_EVERY_MS = 10_000;
const wave = new Waveform($("wave"));
const words = new Words($("spoken"));

let running = null; // { stop, silence } while clips are made or played
let shown = null; // the clip in the result
let edited = false; // whether the form has changed since it was put there
let status = ["nothing"]; // the sentence in the result and its values
let server = ["connecting"]; // the same for the header

// What the form asks for

function options() {
  const number = (id) => ($(id).value === "" ? undefined : Number($(id).value));
  const given = {
    gen_text: $("text").value,
    speed_factor: $("speed").value === "1" ? undefined : Number($("speed").value),
    num_inference_steps: number("steps"),
    guidance_scale: number("guidance"),
    seed: number("seed"),
    read_numbers: $("numbers").checked ? undefined : false,
    strip_markup: $("markup").checked ? true : undefined,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

const newSeed = () => Math.floor(Math.random() * 2 ** 32);

/** The options with a seed drawn here where none is given, so that a clip that broke off can be made again too. */
const seeded = () => ({ seed: newSeed(), ...options() });

const request = () => ({ ...options(), ...chosenVoice().fields });

function fill(clip) {
  const { gen_text, speed_factor, num_inference_steps, guidance_scale, read_numbers, strip_markup } = clip.request;
  $("text").value = gen_text;
  $("speed").value = speed_factor ?? 1;
  $("steps").value = num_inference_steps ?? "";
  $("guidance").value = guidance_scale ?? "";
  $("seed").value = clip.request.seed;
  $("numbers").checked = read_numbers ?? true;
  $("markup").checked = strip_markup ?? false;
  if (comparing()) toggleComparison();
  chooseVoiceOf(clip.request);
  showSpeed();
  $("text").focus();
}

// What is said about it

function tellStatus(...sentence) {
  status = sentence;
  $("status").textContent = say(...status);
}

function tellServer(health, ...sentence) {
  server = sentence;
  $("server").dataset.health = health;
  $("server").textContent = say(...server);
}

function showError(error) {
  $("error").textContent = error?.message ?? "";
  $("error").hidden = !error;
  if (error?.status === 401) $("options").open = true;
  if (error?.unreachable) connect();
}

const showSpeed = () => ($("speed-shown").textContent = Number($("speed").value).toFixed(1));

// Speaking

async function speak(event) {
  event.preventDefault();
  await begin();
  const voice = chosenVoice();
  await (comparing() ? compare() : makeOne({ ...seeded(), ...voice.fields }, voice.name, { words: $("timed").checked }));
}

/** What is made or heard ends, and the result comes into view. */
async function begin() {
  await running?.stop();
  showError(null);
  $("replay").pause();
  $("result").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion)").matches ? "auto" : "smooth" });
}

/** One clip, heard while it is made. `how`: `edit` and `words` as in `makeClip`. */
async function makeOne(request, voiceName, how) {
  const aborter = new AbortController();
  const player = new Player(RATE);
  const mine = (running = {
    silence: () => player.stop(),
    async stop() {
      aborter.abort();
      await player.stop();
      await made; // what was made until then is kept
    },
  });
  clearResult();
  $("stop").disabled = false;
  document.body.dataset.state = "waiting";
  tellStatus("waiting");
  const expected = Math.max(1, request.gen_text.length / CHARACTERS_A_SECOND);
  const began = performance.now();
  follow(mine, player, began);
  const made = makeClip(request, voiceName, aborter.signal, { ...how, onPiece(clip, samples) {
    if (document.body.dataset.state === "waiting") {
      document.body.dataset.state = "streaming";
      tellStatus("streaming");
    }
    wave.add(samples, RATE);
    words.show(clip.words);
    player.play(samples);
    showFacts(clip);
    $("progress").value = Math.min(0.95, clip.seconds / expected);
  } });
  await ended(await made);
  return made;
}

async function makeEdit(request, voiceName) {
  await begin();
  return makeOne({ seed: newSeed(), ...request }, voiceName, { edit: true });
}

/** Puts a clip that is over into the result and the history, complete or not. */
async function ended(clip) {
  document.body.dataset.state = clip.state;
  tellStatus(clip.pieces.length || clip.state === "stopped" ? clip.state : "none");
  if (clip.error) showError(clip.error);
  showFacts(clip);
  if (!clip.pieces.length) {
    $("stop").disabled = true;
    return;
  }
  offer(clip);
  await keep(clip);
  await showHistory();
}

/** Moves the playhead until this clip has been heard or another one begins. */
function follow(mine, player, began) {
  if (running !== mine) return;
  const silenced = player.context.state === "closed";
  const state = document.body.dataset.state;
  if (!silenced) showHeard(player.heard);
  if (state === "waiting") $("first-audio").textContent = say("ms", { count: Math.round(performance.now() - began) });
  else if (state !== "streaming" && (silenced || player.heard >= player.queued)) {
    $("stop").disabled = true;
    player.stop();
    return;
  }
  requestAnimationFrame(() => follow(mine, player, began));
}

function showHeard(seconds) {
  wave.draw(seconds);
  words.mark(seconds);
}

function followReplay() {
  showHeard($("replay").currentTime);
  if (!$("replay").paused) requestAnimationFrame(followReplay);
}

async function compare() {
  const voices = comparedVoices();
  if (voices.length < 2) return tellStatus("chooseTwo");
  const aborter = new AbortController();
  clearResult();
  $("one-result").hidden = true;
  $("comparison").hidden = false;
  $("stop").disabled = false;
  document.body.dataset.state = "streaming";
  tellStatus("comparing", { count: voices.length });
  const made = compareVoices($("comparison"), seeded(), voices, aborter.signal);
  running = {
    silence() {},
    async stop() {
      aborter.abort();
      await made;
    },
  };
  const clips = await made;
  $("stop").disabled = true;
  const complete = clips.filter((clip) => clip.state === "done").length;
  document.body.dataset.state = complete === clips.length ? "done" : "failed";
  if (complete) tellStatus("compared", { count: complete });
  else tellStatus("failed");
  for (const clip of clips) if (clip.pieces.length) await keep(clip);
  await showHistory();
}

async function stop() {
  $("stop").disabled = true;
  await running?.stop();
}

// The result

function clearResult() {
  shown = null;
  wave.clear();
  words.clear();
  $("one-result").hidden = false;
  $("comparison").hidden = true;
  $("replay").hidden = $("download").hidden = true;
  for (const id of ["first-audio", "factor", "length", "elapsed", "used-seed", "used-voice"]) $(id).textContent = "–";
  $("progress").value = 0;
  showCode();
}

function showFacts(clip) {
  const factor = clip.factor ?? (clip.seconds ? clip.elapsedMs / 1000 / clip.seconds : null);
  $("first-audio").textContent = clip.firstAudioMs === null ? "–" : say("ms", { count: Math.round(clip.firstAudioMs) });
  $("length").textContent = `${clip.seconds.toFixed(2)} s`;
  $("elapsed").textContent = `${(clip.elapsedMs / 1000).toFixed(2)} s`;
  $("factor").textContent = factor === null ? "–" : factor.toFixed(2);
  $("used-seed").textContent = clip.request.seed;
  $("used-voice").textContent = clip.voiceName;
}

/** A clip to play again, to download, and as code. */
function offer(clip) {
  shown = clip;
  edited = false;
  URL.revokeObjectURL($("replay").src);
  $("replay").src = $("download").href = addressOf(clip);
  $("download").download = fileName(clip);
  $("replay").hidden = $("download").hidden = false;
  if (clip.state === "done") $("progress").value = 1;
  showDownload();
  showCode();
}

const showDownload = () => ($("download").textContent = say(shown?.state === "done" ? "download" : "downloadPartial"));

/** A clip of the history in the result. */
async function open(clip) {
  await running?.stop();
  showError(null);
  clearResult();
  for (const bytes of clip.pieces) wave.add(samplesOf(bytes), RATE);
  words.show(clip.words ?? []); // clips of earlier versions have none
  showHeard(0);
  showFacts(clip);
  document.body.dataset.state = clip.state;
  tellStatus(clip.state);
  offer(clip);
  $("result").scrollIntoView({ block: "nearest" });
}

// History

async function showHistory() {
  const clips = await kept();
  $("clear").hidden = clips.length === 0;
  $("history-empty").hidden = clips.length > 0;
  $("history").replaceChildren(...clips.map(historyItem));
}

function historyItem(clip) {
  const text = clip.request.gen_text;
  const button = (sign, label, action) => {
    const made = Object.assign(document.createElement("button"), { type: "button", className: "icon", textContent: sign });
    made.setAttribute("aria-label", `${say(label)}: ${text.slice(0, 60)}`);
    made.title = say(label);
    made.addEventListener("click", () => action().catch(showError));
    return made;
  };
  const play = button("▶", "play", async () => {
    await open(clip);
    await $("replay").play();
  });
  const words = Object.assign(document.createElement("button"), { type: "button", className: "words" });
  words.title = say("show");
  words.addEventListener("click", () => open(clip).catch(showError));
  words.append(
    Object.assign(document.createElement("span"), { textContent: text }),
    Object.assign(document.createElement("span"), { className: "quiet", textContent: `${clip.voiceName} · ${factsOf(clip)}` }),
  );
  const item = document.createElement("li");
  item.append(
    play,
    words,
    button("↺", "again", async () => fill(clip)),
    button("✕", "remove", async () => {
      await forget(clip.id);
      await showHistory();
    }),
  );
  return item;
}

async function clear() {
  if (!(await confirmed(say("askClear"), say("yesClear")))) return;
  await forgetAll();
  await showHistory();
}

// Code

function showCode() {
  const language = document.querySelector("[data-code][aria-pressed=true]").dataset.code;
  const ofClip = shown && !edited;
  const asked = ofClip ? shown : { request: request() };
  $("code").textContent = code[language](asked);
  const note = [say(ofClip ? "codeOfClip" : "codeOfForm"), ...(asked.request.ref_text === undefined ? [] : [say("codeClip")])];
  $("code-note").textContent = note.join(" ");
  $("copied").textContent = "";
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("code").textContent);
    $("copied").textContent = say("copied");
  } catch {
    // Browsers keep the clipboard from pages that came without TLS from another machine.
    $("copied").textContent = say("copyByHand");
    getSelection().selectAllChildren($("code"));
  }
}

// The server

let asking = null; // the timer of the next look

async function connect() {
  clearTimeout(asking);
  let again = HEALTH_EVERY_MS;
  try {
    const { status, orchestrator } = await health();
    // For other models the times of words cost the time to hear them: a listener's choice then.
    $("timed").checked = JSON.parse(localStorage.getItem("timed")) ?? orchestrator.model === "embedded";
    if (!$("voice").options.length || $("server").dataset.health !== "ok") {
      await loadVoices();
      showCode();
    }
    if (status === "ok") tellServer("ok", "ready", { model: orchestrator.model });
    else {
      tellServer(status === "loading" ? "waiting" : "bad", status === "stopped" ? "draining" : status);
      again = 2000;
    }
  } catch (error) {
    tellServer("bad", error.unreachable ? "gone" : error.status === 401 ? "needsKey" : "notReady");
    if (!error.unreachable) showError(error);
    again = error.status === 401 ? null : 2000;
  }
  if (again !== null) asking = setTimeout(connect, again);
}

function rewrite() {
  translate();
  tellStatus(...status);
  $("server").textContent = say(...server);
  showVoices();
  showRecording();
  showDownload();
  showCode();
  showHistory().catch(showError);
}

translate();
tellStatus("nothing");
tellServer("waiting", "connecting");
$("text").value = say("example");
startVoices(showError);
showHistory().catch(showError);

$("speak").addEventListener("submit", (event) => speak(event).catch(showError));
$("speak").addEventListener("input", () => {
  edited = true;
  showCode();
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("speak").requestSubmit();
});
$("stop").addEventListener("click", () => stop().catch(showError));
$("compare").addEventListener("click", toggleComparison);
$("copy").addEventListener("click", copy);
$("clear").addEventListener("click", () => clear().catch(showError));
$("speed").addEventListener("input", showSpeed);
$("timed").addEventListener("change", () => localStorage.setItem("timed", $("timed").checked));
$("language").addEventListener("click", () => {
  otherLanguage();
  rewrite();
});
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const theme = dark === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  wave.draw(wave.heard);
});
for (const button of document.querySelectorAll("[data-code]")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll("[data-code]")) other.setAttribute("aria-pressed", other === button);
    showCode();
  });
}
// One sound at a time: what starts to play silences the rest.
document.addEventListener("play", (event) => {
  running?.silence();
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
$("replay").addEventListener("play", followReplay);
$("replay").addEventListener("seeked", () => showHeard($("replay").currentTime));
startEditing(() => (shown?.state === "done" ? shown : null), makeEdit);
$("key").addEventListener("change", () => {
  setKey($("key").value);
  showError(null);
  connect();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) connect();
});
connect();
