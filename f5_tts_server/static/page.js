// The page: a text, a voice, and its speech as it is being made.

import { Player } from "/static/player.js";
import { call, hasKey, setKey, speech } from "/static/server.js";
import { RATE, bytesOf, samplesOf, wavOf } from "/static/sound.js";
import { chosenVoice, isUnsaved, loadVoices } from "/static/voices.js";
import { Waveform } from "/static/waveform.js";

const $ = (id) => document.getElementById(id);
const CHARACTERS_A_SECOND = 15; // to guess how long a text will be, for the progress bar only
const wave = new Waveform($("wave"));
let running = null; // { stop } while a clip is made or played

function options() {
  const number = (id) => ($(id).value === "" ? undefined : Number($(id).value));
  return {
    gen_text: $("text").value,
    ...chosenVoice(),
    ...($("speed").value !== "1" && { speed_factor: Number($("speed").value) }),
    num_inference_steps: number("steps"),
    guidance_scale: number("guidance"),
    seed: number("seed"),
    ...(!$("numbers").checked && { read_numbers: false }),
    ...($("markup").checked && { strip_markup: true }),
  };
}

function show(error) {
  $("error").textContent = error?.message ?? "";
  $("error").hidden = !error;
  if (error?.status === 401) $("options").open = true;
}

async function speak(event) {
  event.preventDefault();
  await running?.stop();
  const aborter = new AbortController();
  const player = new Player(RATE);
  const mine = (running = {
    async stop() {
      aborter.abort();
      await player.stop();
    },
  });
  const pieces = [];
  const began = performance.now();
  const expected = Math.max(1, $("text").value.length / CHARACTERS_A_SECOND);
  show(null);
  wave.clear();
  $("replay").hidden = $("download").hidden = true;
  for (const id of ["first-audio", "factor", "length", "used-seed"]) $(id).textContent = "–";
  $("progress").value = 0;
  $("stop").disabled = false;
  $("status").textContent = "Waiting for the first audio …";
  document.body.dataset.state = "waiting";
  draw(mine, player);
  try {
    for await (const message of speech({ ...options(), response_format: "pcm" }, aborter.signal)) {
      const bytes = bytesOf(message.audio_chunk);
      if (bytes.length) {
        if (!pieces.length) {
          $("first-audio").textContent = `${Math.round(performance.now() - began)} ms`;
          $("status").textContent = "Speaking while the rest is being made …";
          document.body.dataset.state = "streaming";
        }
        pieces.push(bytes);
        const samples = samplesOf(bytes);
        wave.add(samples, RATE);
        player.play(samples);
        $("length").textContent = `${player.queued.toFixed(1)} s`;
        $("progress").value = Math.min(0.95, player.queued / expected);
      }
      if (message.is_final) finish(pieces, message.metadata);
    }
  } catch (error) {
    if (running !== mine) return;
    const stopped = error.name === "AbortError";
    $("status").textContent = stopped ? "Stopped." : pieces.length ? "Broken off." : "Nothing was made.";
    document.body.dataset.state = stopped ? "stopped" : "failed";
    if (!stopped) show(error);
  }
}

function finish(pieces, metadata) {
  const url = URL.createObjectURL(wavOf(pieces, RATE));
  URL.revokeObjectURL($("replay").src);
  $("replay").src = $("download").href = url;
  $("replay").hidden = $("download").hidden = false;
  $("factor").textContent = metadata.real_time_factor.toFixed(2);
  $("length").textContent = `${metadata.duration.toFixed(2)} s`;
  $("used-seed").textContent = metadata.seed;
  $("progress").value = 1;
  $("status").textContent = "The clip is whole.";
  document.body.dataset.state = "done";
}

/** Move the playhead until this clip has been heard or another one begins. */
function draw(mine, player) {
  wave.draw(player.heard);
  const over = document.body.dataset.state !== "waiting" && document.body.dataset.state !== "streaming";
  if (running !== mine || player.context.state === "closed") return;
  if (over && player.heard >= player.queued) {
    $("stop").disabled = true;
    player.stop();
    return;
  }
  requestAnimationFrame(() => draw(mine, player));
}

async function stop() {
  await running?.stop();
  $("stop").disabled = true;
  if (document.body.dataset.state === "done") $("status").textContent = "The clip is whole.";
}

/** A command that makes the same clip. */
function curl() {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const head = [`curl -sS ${quote(location.origin + (isUnsaved() ? "/v1/generate" : "/v1/audio/speech"))}`];
  if (hasKey()) head.push('-H "Authorization: Bearer $F5_API_KEY"');
  head.push("-H 'Content-Type: application/json'");
  const { gen_text: input, speed_factor: speed, ref_text, ref_audio_base64, ...rest } = options();
  if (isUnsaved()) {
    const body = JSON.stringify({ gen_text: input, speed_factor: speed, ref_text, ...rest, ref_audio_base64: "CLIP" });
    const [before, after] = quote(body).split("CLIP");
    return `${head.join(" ")} -d ${before}'"$(base64 -w0 clip.wav)"'${after} | jq -r .audio_base64 | base64 -d > speech.wav`;
  }
  const body = JSON.stringify({ model: "tts-1", input, speed, ...rest, response_format: "wav" });
  return `${head.join(" ")} -d ${quote(body)} -o speech.wav`;
}

async function copy() {
  const command = curl();
  try {
    await navigator.clipboard.writeText(command);
    $("status").textContent = "The command is in the clipboard.";
  } catch {
    // Browsers keep the clipboard from pages that came without TLS from another machine.
    $("status").textContent = command;
  }
}

async function connect() {
  try {
    await loadVoices();
    const health = await (await call("/v1/health")).json();
    $("server").textContent = `${health.orchestrator.model}, ready`;
  } catch (error) {
    $("server").textContent = error.status === 503 ? "the model is being loaded …" : "not ready";
    if (error.status === 503) setTimeout(connect, 1000);
    else show(error);
  }
}

$("speak").addEventListener("submit", speak);
$("stop").addEventListener("click", stop);
$("copy").addEventListener("click", copy);
$("speed").addEventListener("input", () => ($("speed-shown").textContent = Number($("speed").value).toFixed(1)));
$("key").addEventListener("change", () => {
  setKey($("key").value);
  show(null);
  connect();
});
connect();
