// Words of a recording changed: of the clip that is shown, or of a file.

import { RATE, base64Of, forServer, wavOf } from "/static/sound.js";
import { say } from "/static/strings.js";

const $ = (id) => document.getElementById(id);

let clip = null; // the one shown when the dialog was opened
let filled = null; // the clip or file whose words stand in the fields

/** Writes what is to be edited, and the words of a clip that is new here. */
function showSource() {
  const [file] = $("edit-file").files;
  $("edit-source").textContent = file ? file.name : say(clip ? "editsClip" : "editsFile");
  $("edit-save").disabled = !file && !clip;
  const source = file ?? clip;
  if (source === filled) return;
  filled = source;
  const text = file || !clip ? "" : textOf(clip);
  $("edit-said").value = $("edit-wanted").value = text;
}

/** What a clip says, as it was spoken where that is known. */
const textOf = ({ words, request }) => (words?.length ? words.map(({ text }) => text).join(" ") : request.gen_text);

function tell(message) {
  $("edit-error").textContent = message;
  $("edit-error").hidden = !message;
}

/**
 * Connects the dialog.
 *
 * @param shownClip returns the complete clip of the result, or null
 * @param make makes the clip of an edit: (request, name) → the clip, which has `error` and no `pieces` where it was refused
 */
export function startEditing(shownClip, make) {
  $("edit").addEventListener("click", () => {
    clip = shownClip();
    tell("");
    showSource();
    $("edit-dialog").showModal();
  });
  $("edit-close").addEventListener("click", () => $("edit-dialog").close());
  $("edit-file").addEventListener("change", showSource);
  $("edit-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const [file] = $("edit-file").files;
    try {
      const sound = file ? await forServer(file) : wavOf(clip.pieces, RATE);
      const request = {
        ref_audio_base64: await base64Of(sound), ref_text: $("edit-said").value, gen_text: $("edit-wanted").value,
      };
      tell("");
      $("edit-dialog").close();
      const made = await make(request, file?.name ?? clip.voiceName);
      if (!made.error || made.pieces.length) {
        $("edit-file").value = ""; // next time, the edited clip is edited on
        return;
      }
      tell(made.error.message);
      $("edit-dialog").showModal();
    } catch (error) {
      tell(error.message);
    }
  });
}
