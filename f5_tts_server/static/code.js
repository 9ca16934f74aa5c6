// A clip, or what the form asks for ({ request }), as a program that makes the same clip: curl, Python, JavaScript.

import { hasKey } from "/static/server.js";

/** The route and body for a request: OpenAI's route returns a file, a clip sent along or an edit needs ours. */
function asked({ request, edit }) {
  const { gen_text: input, speed_factor: speed, ref_text, ref_audio_base64, ...rest } = request;
  if (ref_text !== undefined) {
    return { path: edit ? "/v1/audio/edits" : "/v1/generate", body: { ...request, ref_audio_base64: "CLIP" }, withClip: true };
  }
  return { path: "/v1/audio/speech", body: { model: "tts-1", input, speed, ...rest, response_format: "wav" } };
}

export function curl(clip) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const { path, body, withClip } = asked(clip);
  const lines = [`curl -sS ${quote(location.origin + path)}`];
  if (hasKey()) lines.push('-H "Authorization: Bearer $F5_API_KEY"');
  lines.push("-H 'Content-Type: application/json'");
  const json = quote(JSON.stringify(body));
  if (!withClip) return [...lines, `-d ${json}`, "-o speech.wav"].join(" \\\n  ");
  // The body goes through a pipe: a clip is longer than an argument may be.
  const parts = json.slice(1, -1).split('"CLIP"');
  return `{ printf %s '${parts[0]}"'; base64 < clip.wav | tr -d '\\n'; printf %s '"${parts[1]}'; } |\n  ${lines.join(" \\\n  ")} \\\n  -d @- |\n  jq -r .audio_base64 | base64 -d > speech.wav`;
}

export function python(clip) {
  const { path, body, withClip } = asked(clip);
  const value = (one) => (one === true ? "True" : one === false ? "False" : JSON.stringify(one));
  const fields = Object.entries(body).filter(([, one]) => one !== undefined);
  const encoded = "base64.b64encode(open(\"clip.wav\", \"rb\").read()).decode()";
  const lines = fields.map(([name, one]) => `    "${name}": ${one === "CLIP" ? encoded : value(one)},`);
  const key = hasKey() ? ', "Authorization": "Bearer " + os.environ["F5_API_KEY"]' : "";
  const modules = [...(withClip ? ["base64"] : []), "json", ...(hasKey() ? ["os"] : []), "urllib.request"];
  return `${modules.map((name) => `import ${name}`).join("\n")}

body = {
${lines.join("\n")}
}
request = urllib.request.Request(
    "${location.origin + path}",
    json.dumps(body).encode(),
    {"Content-Type": "application/json"${key}},
)
with urllib.request.urlopen(request) as reply, open("speech.wav", "wb") as file:
    file.write(${withClip ? 'base64.b64decode(json.load(reply)["audio_base64"])' : "reply.read()"})
`;
}

export function javascript(clip) {
  const { path, body, withClip } = asked(clip);
  const json = JSON.stringify(body, null, 2).replace('"CLIP"', 'readFileSync("clip.wav").toString("base64")');
  const key = hasKey() ? ", Authorization: `Bearer ${process.env.F5_API_KEY}`" : "";
  return `import { ${withClip ? "readFileSync, " : ""}writeFileSync } from "node:fs";

const body = ${json};
const reply = await fetch("${location.origin + path}", {
  method: "POST",
  headers: { "Content-Type": "application/json"${key} },
  body: JSON.stringify(body),
});
if (!reply.ok) throw new Error(await reply.text());
writeFileSync("speech.wav", Buffer.from(${withClip ? '(await reply.json()).audio_base64, "base64"' : "await reply.arrayBuffer()"}));
`;
}
