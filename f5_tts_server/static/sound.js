// Samples: out of base64, into WAV files, out of any file the browser can read.

export const RATE = 24000;
const READ_BY_SERVER = /\.(wav|flac|mp3|ogg|oga|aiff?)$/i;

export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

export async function base64Of(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** Float samples of 16-bit little-endian ones. `bytes` has an even length. */
export function samplesOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = new Float32Array(bytes.byteLength / 2);
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true) / 32767;
  return samples;
}

/** A WAV file of pieces of 16-bit samples. */
export function wavOf(pieces, rate) {
  const length = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  const header = new DataView(new ArrayBuffer(44));
  const write = (at, text) => [...text].forEach((c, i) => header.setUint8(at + i, c.charCodeAt(0)));
  write(0, "RIFF"); header.setUint32(4, 36 + length, true); write(8, "WAVEfmt ");
  header.setUint32(16, 16, true); header.setUint16(20, 1, true); header.setUint16(22, 1, true);
  header.setUint32(24, rate, true); header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true); header.setUint16(34, 16, true);
  write(36, "data"); header.setUint32(40, length, true);
  return new Blob([header.buffer, ...pieces], { type: "audio/wav" });
}

/** A chosen file as the server reads it: as it is, or decoded here to WAV. */
export async function forServer(file) {
  return READ_BY_SERVER.test(file.name) ? file : new File([await asWav(file)], `${file.name}.wav`);
}

/** Whatever the browser decodes (a recording, m4a, webm) as a mono WAV file, which the server reads. */
export async function asWav(blob) {
  const context = new OfflineAudioContext(1, 1, 48000);
  const buffer = await context.decodeAudioData(await blob.arrayBuffer());
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  const view = new DataView(new ArrayBuffer(2 * buffer.length));
  for (let i = 0; i < buffer.length; i++) {
    const mean = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
    view.setInt16(2 * i, Math.round(Math.max(-1, Math.min(1, mean)) * 32767), true);
  }
  return wavOf([view.buffer], buffer.sampleRate);
}
