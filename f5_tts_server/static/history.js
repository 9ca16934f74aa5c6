// The clips made here, kept in the browser (IndexedDB), the newest first.

const MOST = 30;

let database = null;

function opened() {
  database ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open("f5-tts", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("clips", { keyPath: "id", autoIncrement: true });
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return database;
}

async function ask(mode, action) {
  const store = (await opened()).transaction("clips", mode).objectStore("clips");
  return new Promise((resolve, reject) => {
    const asked = action(store);
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

/** Keeps a clip and drops the oldest beyond the limit. A reference clip sent along is not kept: it is a person's voice. */
export async function keep(clip) {
  const { ref_audio_base64, ...request } = clip.request;
  const { voiceName, edit, words, pieces, seconds, state, firstAudioMs, elapsedMs, factor, at } = clip;
  await ask("readwrite", (store) =>
    store.add({ request, voiceName, edit, words, pieces, seconds, state, firstAudioMs, elapsedMs, factor, at }));
  for (const old of (await kept()).slice(MOST)) await forget(old.id);
}

export const kept = async () => (await ask("readonly", (store) => store.getAll())).reverse();

export const forget = (id) => ask("readwrite", (store) => store.delete(id));

export const forgetAll = () => ask("readwrite", (store) => store.clear());
