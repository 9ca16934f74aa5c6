// The Vercel AI SDK's speech, pointed at a server: `vercel_client.cjs NODE_MODULES URL PROVIDER FOLDER FORMAT...`.
// Writes a file of each format and prints the SDK's warnings. The ElevenLabs provider has no setting for the address;
// its `fetch` setting is where one is given.
const { createRequire } = require("node:module");
const { writeFileSync } = require("node:fs");

const [, , modules, url, provider, folder, ...formats] = process.argv;
const load = createRequire(`${modules}/`);
const { experimental_generateSpeech: generateSpeech } = load("ai");

function model() {
  if (provider === "openai") {
    return load("@ai-sdk/openai").createOpenAI({ baseURL: `${url}/v1`, apiKey: "anything" }).speech("tts-1");
  }
  const elsewhere = (address, options) => fetch(String(address).replace("https://api.elevenlabs.io", url), options);
  return load("@ai-sdk/elevenlabs").createElevenLabs({ apiKey: "anything", fetch: elsewhere }).speech("eleven_v3");
}

async function main() {
  const told = [];
  for (const format of formats) {
    const { audio, warnings } = await generateSpeech({
      model: model(),
      text: "The first sentence is here. The second one follows it.",
      voice: "ada",
      outputFormat: format,
      speed: 1.25,
      maxRetries: 0,
    });
    writeFileSync(`${folder}/${format}`, audio.uint8Array);
    told.push(...warnings);
  }
  console.log(JSON.stringify({ warnings: told }));
}

main();
