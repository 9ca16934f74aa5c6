// Choosing a voice, and adding one from a file or the microphone.

import { call } from "/static/server.js";
import { asWav, base64Of } from "/static/sound.js";

const $ = (id) => document.getElementById(id);
const READ_BY_SERVER = /\.(wav|flac|mp3|ogg|oga|aiff?)$/i;
const UNSAVED = "unsaved clip";

let stored = [];
let clip = null; // the file chosen or recorded
let unsaved = null; // { audio: base64, words } to be used without saving

/** The voice chosen, as fields of a request. */
export function chosenVoice() {
  const value = $("voice").value;
  if (value === UNSAVED) return { ref_audio_base64: unsaved.audio, ref_text: unsaved.words };
  return value ? { voice: value } : {};
}

export const isUnsaved = () => $("voice").value === UNSAVED;

export async function loadVoices(choose) {
  const { voices, default: standard } = await (await call("/v1/audio/voices")).json();
  stored = voices;
  const options = voices.map((voice) => new Option(voice.name, voice.id));
  if (unsaved) options.push(new Option("This clip (not saved)", UNSAVED));
  $("voice").replaceChildren(...options);
  const wanted = choose ?? standard;
  if (wanted) $("voice").value = wanted;
  offerDeletion();
}

function offerDeletion() {
  const voice = stored.find((one) => one.id === $("voice").value);
  $("delete-voice").hidden = !voice || voice.embedded;
}

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
  $("report").replaceChildren(heading, list);
}

function describe(report) {
  const percent = (100 * report.clipped_fraction).toFixed(1);
  const [low, high] = report.plausible_characters_per_second;
  return [
    `${report.duration.toFixed(1)} s at ${report.sample_rate} Hz, ${report.speech_duration.toFixed(1)} s of speech`,
    `silence: ${report.leading_silence.toFixed(2)} s before, ${report.trailing_silence.toFixed(2)} s after`,
    `noise floor ${report.noise_floor_db} dB, speech ${report.speech_level_db} dB, ${percent} % clipped`,
    `${report.characters_per_second} characters a second (usual: ${low} to ${high})`,
    ...report.actions.map((action) => `done: ${action}`),
    ...report.remarks.map((remark) => `note: ${remark}`),
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
    tell(`Voice “${voice.name}” is saved.`, describe(voice.report));
    $("name").value = $("words").value = "";
    await loadVoices(voice.id);
  } catch (error) {
    tell(error.message, [], true);
  } finally {
    $("save").disabled = false;
  }
}

async function useOnce() {
  if (!$("words").value.trim()) return tell("Say what is said in the clip.", [], true);
  unsaved = { audio: base64Of(new Uint8Array(await clip.blob.arrayBuffer())), words: $("words").value };
  await loadVoices(UNSAVED);
  tell("The clip is chosen as the voice; it is sent with each request and not saved.", []);
}

async function record() {
  const button = $("record");
  if (button.recorder) return button.recorder.stop();
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
  const recorder = (button.recorder = new MediaRecorder(stream));
  const pieces = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = async () => {
    button.recorder = null;
    button.setAttribute("aria-pressed", "false");
    button.textContent = "Record";
    stream.getTracks().forEach((track) => track.stop());
    choose(await asWav(new Blob(pieces, { type: recorder.mimeType })), "recording.wav");
  };
  recorder.start();
  button.setAttribute("aria-pressed", "true");
  button.textContent = "Stop recording";
}

const reported = (action) => (...given) => Promise.resolve(action(...given)).catch((error) => tell(error.message, [], true));

$("voice").addEventListener("change", offerDeletion);
$("delete-voice").addEventListener("click", reported(async () => {
  await call(`/v1/audio/voices/${encodeURIComponent($("voice").value)}`, { method: "DELETE" });
  await loadVoices();
}));
$("file").addEventListener("change", reported(async () => {
  const [file] = $("file").files;
  if (!file) return;
  const readable = READ_BY_SERVER.test(file.name);
  choose(readable ? file : await asWav(file), readable ? file.name : `${file.name}.wav`);
}));
$("record").addEventListener("click", reported(record));
$("once").addEventListener("click", reported(useOnce));
$("add").addEventListener("submit", save);
