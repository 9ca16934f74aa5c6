// One clip: asked for, made piece by piece, complete or not.

import { EDITS, GENERATE, speech } from "/static/server.js";
import { RATE, bytesOf, samplesOf, wavOf } from "/static/sound.js";

/**
 * Makes the clip of a request. However it ends, what was made is in the clip that is returned: `state` is "done",
 * "stopped" or "failed", and `error` says why it failed.
 *
 * @param request the body of POST /v1/generate/stream, or of POST /v1/audio/edits/stream for an `edit`, with a seed and
 *   without its format
 * @param words whether the clip shall know when each of its words is said: `{ text, start, end }` in seconds
 * @param onPiece called with the clip so far and the new samples
 */
export async function makeClip(request, voiceName, signal, { edit = false, words = false, onPiece = () => {} } = {}) {
  const began = performance.now();
  const clip = {
    request, voiceName, edit, words: [], pieces: [], seconds: 0, state: "waiting", error: null,
    firstAudioMs: null, elapsedMs: 0, factor: null, at: Date.now(),
  };
  try {
    const body = { ...request, response_format: "pcm", ...(words && { timestamps: "word" }) };
    for await (const message of speech(edit ? EDITS : GENERATE, body, signal)) {
      for (const segment of message.timestamps ?? []) clip.words.push(...(segment.words ?? []));
      const bytes = bytesOf(message.audio_chunk);
      if (bytes.length) {
        const samples = samplesOf(bytes);
        clip.elapsedMs = performance.now() - began;
        clip.firstAudioMs ??= clip.elapsedMs;
        clip.state = "streaming";
        clip.pieces.push(bytes);
        clip.seconds += samples.length / RATE;
        onPiece(clip, samples);
      }
      if (message.is_final) {
        clip.factor = message.metadata.real_time_factor;
        clip.state = "done";
      }
    }
  } catch (error) {
    clip.state = error.name === "AbortError" ? "stopped" : "failed";
    if (clip.state === "failed") clip.error = error;
  }
  clip.elapsedMs = performance.now() - began;
  return clip;
}

/** A link's or player's address for a clip's file; the caller gives it back with URL.revokeObjectURL. */
export const addressOf = (clip) => URL.createObjectURL(wavOf(clip.pieces, RATE));

export const fileName = (clip) => (clip.state === "done" ? "speech.wav" : "speech-incomplete.wav");
