// Choosing voices, and adding one from a file or the microphone.

import { confirmed } from "/static/confirm.js";
import { call } from "/static/server.js";
import { asWav, base64Of, forServer } from "/static/sound.js";
import { say } from "/static/strings.js";

const $ = (id) => document.getElementById(id);
const UNSAVED = "unsaved clip";

let stored = [];
let standard = null; // the server's default
let clip = null; // the file chosen or recorded
let unsaved = null; // { audio: base64, words } to be used without saving
let recorder = null; // while a clip is recorded

const fieldsOf = (value) =>
  value === UNSAVED ? { ref_audio_base64: unsaved.audio, ref_text: unsaved.words } : value ? { voice: value } : {};

const nameOf = (value) => (value === UNSAVED ? say("unsaved") : (stored.find((one) => one.id === value)?.name ?? value));

/** The voice chosen: its name and its fields of a request. */
export const chosenVoice = () => ({ name: nameOf($("voice").value), fields: fieldsOf($("voice").value) });

/** The voices ticked for a comparison, like `chosenVoice`. */
export const comparedVoices = () =>
  [...document.querySelectorAll("#compared input:checked")].map(({ value }) => ({ name: nameOf(value), fields: fieldsOf(value) }));

/** Chooses the voice of a request made before, if it is still there. */
export function chooseVoiceOf(request) {
  const value = request.ref_text !== undefined ? UNSAVED : (request.voice ?? standard);
  if ([...$("voice").options].some((option) => option.value === value)) $("voice").value = value;
  showVoice();
}

export async function loadVoices() {
  const reply = await (await call("/v1/audio/voices")).json();
  stored = reply.voices;
  standard = reply.default;
  showVoices();
}

/** Writes the voices into the select and the list of those to compare; what was chosen stays chosen. */
export function showVoices(choose) {
  const ticked = new Set([...document.querySelectorAll("#compared input:checked")].map((box) => box.value));
  const wanted = choose ?? ($("voice").value || standard);
  const values = [...stored.map((voice) => voice.id), ...(unsaved ? [UNSAVED] : [])];
  $("voice").replaceChildren(...values.map((value) => new Option(nameOf(value), value)));
  $("voice").value = values.includes(wanted) ? wanted : standard;
  $("compared").replaceChildren(...values.map((value, index) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value });
    box.checked = ticked.size ? ticked.has(value) : index < 2;
    const label = document.createElement("label");
    label.append(box, ` ${nameOf(value)}`);
    return label;
  }));
  showVoice();
}

function showVoice() {
  const voice = stored.find((one) => one.id === $("voice").value);
  $("delete-voice").hidden = !voice || voice.embedded || !$("many-voices").hidden;
}

/** Between one voice and several to compare. */
export function toggleComparison() {
  const several = $("many-voices").hidden;
  $("many-voices").hidden = !several;
  $("one-voice").hidden = several;
  $("compare").setAttribute("aria-pressed", several);
  showVoice();
}

export const comparing = () => !$("many-voices").hidden;

function choose(blob, name) {
  clip = { blob, name };
  const sample = $("sample");
  URL.revokeObjectURL(sample.src);
  sample.src = URL.createObjectURL(blob);
  sample.hidden = false;
  $("save").disabled = $("once").disabled = false;
  if (!$("name").value) $("name").value = name.replace(/\.[^.]*$/, "").replace(/[[\]:]/g, " ").slice(0, 64);
}

function tell(title, lines, bad = false) {
  const heading = document.createElement("p");
  heading.textContent = title;
  if (bad) heading.setAttribute("role", "alert");
  const list = document.createElement("ul");
  list.append(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  $("report").replaceChildren(heading, ...(lines.length ? [list] : []));
}

function describe(report) {
  const [low, high] = report.plausible_characters_per_second;
  return [
    say("reportLength", { seconds: report.duration.toFixed(1), rate: report.sample_rate, speech: report.speech_duration.toFixed(1) }),
    say("reportSilence", { before: report.leading_silence.toFixed(2), after: report.trailing_silence.toFixed(2) }),
    say("reportLevels", {
      noise: report.noise_floor_db, speech: report.speech_level_db, clipped: (100 * report.clipped_fraction).toFixed(1),
    }),
    say("reportRate", { rate: report.characters_per_second, low, high }),
    ...report.actions.map((text) => say("reportDone", { text })),
    ...report.remarks.map((text) => say("reportNote", { text })),
  ];
}

async function save(event) {
  event.preventDefault();
  $("save").disabled = true;
  try {
    const form = new FormData();
    form.set("name", $("name").value);
    form.set("ref_text", $("words").value);
    form.set("audio_sample", clip.blob, clip.name);
    const voice = await (await call("/v1/audio/voices", { method: "POST", body: form })).json();
    tell(say("saved", { name: voice.name }), describe(voice.report));
    $("name").value = $("words").value = "";
    await loadVoices();
    showVoices(voice.id);
  } catch (error) {
    tell(error.message, [], true);
  } finally {
    $("save").disabled = false;
  }
}

async function useOnce() {
  if (!$("words").value.trim()) return tell(say("sayWords"), [], true);
  unsaved = { audio: await base64Of(clip.blob), words: $("words").value };
  showVoices(UNSAVED);
  tell(say("onceChosen"), []);
}

async function remove() {
  const id = $("voice").value;
  if (!(await confirmed(say("askDelete", { name: nameOf(id) }), say("yesDelete")))) return;
  await call(`/v1/audio/voices/${encodeURIComponent(id)}`, { method: "DELETE" });
  await loadVoices();
}

async function record() {
  if (recorder) return recorder.stop();
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
  recorder = new MediaRecorder(stream);
  const pieces = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = reported(async () => {
    const type = recorder.mimeType;
    recorder = null;
    showRecording();
    stream.getTracks().forEach((track) => track.stop());
    choose(await asWav(new Blob(pieces, { type })), "recording.wav");
  });
  recorder.start();
  showRecording();
}

export function showRecording() {
  $("record").setAttribute("aria-pressed", recorder !== null);
  $("record").textContent = say(recorder ? "recording" : "record");
}

const reported = (action) => (...given) => Promise.resolve(action(...given)).catch((error) => tell(error.message, [], true));

/** Connects the controls; `onError` is told what goes wrong outside the dialog. */
export function startVoices(onError) {
  $("voice").addEventListener("change", showVoice);
  $("add-voice").addEventListener("click", () => $("add-dialog").showModal());
  $("close-add").addEventListener("click", () => $("add-dialog").close());
  $("add-dialog").addEventListener("close", () => recorder?.stop());
  $("delete-voice").addEventListener("click", () => remove().catch(onError));
  $("file").addEventListener("change", reported(async () => {
    const [file] = $("file").files;
    if (!file) return;
    const readable = await forServer(file);
    choose(readable, readable.name);
  }));
  $("record").addEventListener("click", reported(record));
  $("once").addEventListener("click", reported(useOnce));
  $("add").addEventListener("submit", save);
}
