// A question before something is removed for good.

const $ = (id) => document.getElementById(id);

/** Resolves to whether the answer was yes; closing the question is a no. */
export function confirmed(question, yes) {
  const dialog = $("ask");
  $("ask-text").textContent = question;
  $("ask-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}
