// What the page asks of the server it came from.

import { say } from "/static/strings.js";

let key = sessionStorage.getItem("key") ?? "";

export function setKey(value) {
  key = value.trim();
  sessionStorage.setItem("key", key);
}

export const hasKey = () => key !== "";

/** fetch with the key; an error that is thrown for want of a reply is `unreachable`. */
function ask(path, options = {}) {
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  return fetch(path, { ...options, headers }).catch((error) => {
    throw error.name === "AbortError" ? error : Object.assign(new Error(say("unreachable")), { unreachable: true });
  });
}

/** The server's state, ready or not. */
export const health = async () => (await ask("/v1/health")).json();

/** A reply that is not an error; one that is is thrown, in the server's words. */
export async function call(path, options) {
  const reply = await ask(path, options);
  if (!reply.ok) {
    const body = await reply.json().catch(() => null);
    const error = new Error(body?.error?.message ?? `the server answered ${reply.status}`);
    error.status = reply.status;
    throw error;
  }
  return reply;
}

export const GENERATE = "/v1/generate/stream";
export const EDITS = "/v1/audio/edits/stream";

/** The events of one of the two routes above, as they come. */
export async function* speech(route, body, signal) {
  const reply = await call(route, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  let whole = false;
  for await (const { name, data } of events(reply.body)) {
    if (name === "error") throw new Error(data.error.message);
    whole = data.is_final;
    yield data;
  }
  if (!whole) throw new Error(say("lost"));
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : Object.assign(new Error(say("lost")), { unreachable: true });
    });
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      let name = "message";
      let data = "";
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        if (line.startsWith("data:")) data += line.slice(5);
      }
      if (data) yield { name, data: JSON.parse(data) };
    }
  }
}
