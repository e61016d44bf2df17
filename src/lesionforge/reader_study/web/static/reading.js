// Reading: what comes next, the answer to it, and nothing of the next before the server has kept the answer.

import { getBytes, getJson, persist, post, Refused, trust } from "./server.js";
import { chooser, fillKeys, keyFor } from "./keys.js";
import { drawScore } from "./score.js";
import { Viewer } from "./viewer.js";

const RATING_KEYS = [..."123456789"];
const CLASS_KEYS = [..."ASDFGHJK"];
const RESERVED = new Set([...CLASS_KEYS, "C", "P", "R", "X", "Z", "W", "N"]);
const GESTURES = { window: "Window", pan: "Pan", zoom: "Zoom", slices: "Slices", mark: "Mark" };
const GESTURE_KEYS = { window: "W", pan: "N", zoom: "Z", mark: "X" };
const PAN_STEP = 24;
const WINDOW_STEP = 0.05;

const byId = (id) => document.getElementById(id);
const screens = ["intro", "rest", "paused", "ended", "item"].map(byId);
const form = byId("answer");
const words = byId("words");

let study;
let viewer;
let now; // where the reader stands, as the server says
let shownAt = null; // when the clock was last started; null while it stands
let activeMs = 0;
let screenBefore = null;
let practised = false; // whether the last answer was for practice
let sending = false;

function open(name) {
  for (const screen of screens) screen.hidden = screen.id !== name;
  byId("pause").disabled = !["item", "paused"].includes(name);
}

const current = () => screens.find((screen) => !screen.hidden)?.id;

// The clock runs while an item can be seen.
function startClock() {
  const seen = current() === "item" && !form.hidden && viewer.values !== null && !document.hidden;
  if (shownAt === null && seen) shownAt = performance.now();
}

function stopClock() {
  if (shownAt !== null) activeMs += performance.now() - shownAt;
  shownAt = null;
}

function showProgress() {
  const part = now.kind === "training" ? "Practice · " : now.batch > 0 ? `Part ${now.batch} · ` : "";
  const place = Math.min(now.done + 1, now.total);
  byId("progress").textContent = now.state === "item" ? `${part}${place} of ${now.total}` : "";
}

async function go() {
  showProgress();
  if (now.state !== "item") {
    end();
  } else if (now.done === 0 && screenBefore !== "intro") {
    stand("intro");
  } else if (now.begins && now.done > 0 && now.batch > 0 && screenBefore !== "rest") {
    byId("rest").querySelector("[data-number]").textContent = now.batch;
    for (const text of byId("rest").querySelectorAll("[data-after]")) text.hidden = (text.dataset.after === "practice") !== practised;
    stand("rest");
  } else {
    await showItem();
  }
}

function stand(name) {
  screenBefore = name;
  open(name);
  byId(name).querySelector("[data-go]").focus();
}

function end() {
  viewer.clear();
  open("ended");
  const finished = now.state === "done";
  byId("ended").querySelector("[data-title]").textContent = finished ? "That was the last one" : "The study is closed";
  byId("ended").querySelector("[data-text]").textContent = finished
    ? "Thank you. All your answers are kept; you can close this page."
    : "It takes no more answers. Thank you for those that you gave; they are kept.";
  drawScore(byId("ended").querySelector(".score"), now.score);
}

async function showItem() {
  screenBefore = null;
  activeMs = 0;
  form.reset();
  form.hidden = false;
  byId("feedback").hidden = true;
  byId("practice").hidden = now.kind !== "training";
  say("");
  open("item");
  viewer.clear();
  const bytes = await persist(() => getBytes(`/api/items/${now.slot}`), say);
  viewer.show(bytes);
  backToLesion();
  byId("status").textContent = `Lesion ${now.done + 1} of ${now.total}`;
  startClock();
}

// Where keys mean answers: Enter on a button would press that button.
function backToLesion() {
  if (current() === "item" && !form.hidden) byId("canvas").focus({ preventScroll: true });
}

function say(text) {
  byId("problem").textContent = text;
}

function given() {
  const chosen = (name) => form.querySelector(`[name=${name}]:checked`)?.value ?? "";
  const [rating, label] = [chosen("rating"), chosen("label")];
  if (rating === "") return say("Choose whether the lesion is real first.");
  if (study.classes.length && label === "") return say("Choose the lesion's class first.");
  const { region } = viewer;
  const marked = region && [region.slice, region.top, region.left, region.bottom, region.right];
  return {
    slot: now.slot,
    rating: Number(rating),
    label,
    comment: study.ask_comment ? words.value.trim() : "",
    region: marked || [],
    active_ms: Math.round(activeMs),
  };
}

async function answer() {
  if (sending || form.hidden || viewer.values === null) return;
  stopClock();
  const value = given();
  if (!value) {
    startClock();
    return;
  }
  sending = true;
  form.querySelector("button.main").disabled = true;
  try {
    const kept = await persist(() => post("/api/answers", value), say);
    practised = now.kind === "training";
    now = kept.now;
    if (kept.feedback) showFeedback(kept.feedback);
    else await go();
  } catch (error) {
    await recover(error);
  } finally {
    sending = false;
    form.querySelector("button.main").disabled = false;
  }
}

// Another device may have gone on, or the study was closed: the server knows where the reader stands.
async function recover(error) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) {
    location.assign("/join");
  } else if ([404, 409].includes(error.status)) {
    now = await persist(() => getJson("/api/now"), say);
    await go();
    say(error.message);
  } else {
    say(error.message);
    startClock();
  }
}

function showFeedback(feedback) {
  form.hidden = true;
  const panel = byId("feedback");
  panel.hidden = false;
  const verdict = panel.querySelector("[data-verdict]");
  verdict.textContent = feedback.right ? "✓ Right" : "✗ Wrong";
  verdict.className = `verdict ${feedback.right ? "right" : "wrong"}`;
  const label = feedback.label ? ` of class ${feedback.label}` : "";
  panel.querySelector("[data-truth]").textContent = `It is a ${feedback.real ? "real" : "synthetic"} lesion${label}.`;
  drawScore(panel.querySelector(".score"), now.score);
  panel.querySelector("[data-go]").focus();
}

function pause() {
  if (current() === "item") {
    stopClock();
    open("paused");
    byId("paused").querySelector("[data-go]").focus();
  } else if (current() === "paused") {
    open("item");
    startClock();
    backToLesion();
  }
}

async function anotherDevice() {
  const made = await post("/api/device");
  const dialog = byId("elsewhere");
  dialog.querySelector("[data-minutes]").textContent = made.minutes;
  dialog.querySelector("[data-link]").textContent = made.link;
  dialog.querySelector("[data-page]").textContent = made.link.split("#")[0];
  dialog.querySelector("[data-invitation]").textContent = made.invitation;
  dialog.showModal();
}

function setGesture(name) {
  viewer.gesture = name;
  for (const button of byId("gestures").children) button.setAttribute("aria-pressed", button.dataset.gesture === name);
  if (name === "mark" && !viewer.region) byId("status").textContent = "Marking: drag, or use the arrow keys.";
}

// What the viewer's state looks like around it.
function reflect(view) {
  const level = Math.round((view.low + view.high) / 2);
  const width = Math.round(view.high - view.low);
  byId("reading").textContent = `L ${level} · W ${width} ${study.unit} · ${Math.round(100 * view.zoom)} %`;
  for (const button of byId("presets").children) button.setAttribute("aria-pressed", button.dataset.preset === view.preset);
  const slider = byId("slices").querySelector("input");
  slider.value = view.slice;
  byId("slices").querySelector("output").textContent = `${view.slice + 1} of ${view.depth}`;
  const region = view.region;
  byId("region").querySelector("[data-region]").textContent = region
    ? `Marked${view.depth > 1 ? ` on slice ${region.slice + 1}` : ""}.`
    : "Nothing marked.";
}

function arrows(event) {
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (viewer.gesture === "mark") viewer.nudgeRegion(dx, dy, event.shiftKey);
  else if (event.shiftKey) viewer.changeWindow(-dy * WINDOW_STEP, dx * WINDOW_STEP);
  else viewer.pan(-dx * PAN_STEP, -dy * PAN_STEP);
}

function viewerKey(event, key) {
  if (event.key.startsWith("Arrow")) arrows(event);
  else if (key === "+" || key === "=") viewer.zoomStep(1);
  else if (key === "-") viewer.zoomStep(-1);
  else if (key === "R") viewer.reset();
  else if (event.key === "PageUp" || key === ",") viewer.goToSlice(viewer.slice - 1);
  else if (event.key === "PageDown" || key === ".") viewer.goToSlice(viewer.slice + 1);
  else if (event.key === "Delete" || event.key === "Backspace") viewer.unmark();
  else return false;
  return true;
}

function chooseByKey(key) {
  const chosen = form.querySelector(`.choice input[data-key="${CSS.escape(key)}"]`);
  if (chosen) chosen.checked = true;
  else if (key === "C" && study.ask_comment) words.focus();
  else return false;
  return true;
}

function setByKey(key) {
  const preset = [...byId("presets").children].find((button) => button.dataset.key === key);
  const gesture = Object.keys(GESTURE_KEYS).find((name) => GESTURE_KEYS[name] === key);
  if (preset) viewer.choosePreset(preset.dataset.preset);
  else if (gesture && (gesture !== "mark" || study.ask_region)) setGesture(gesture);
  else return false;
  return true;
}

function onKey(event) {
  const typing = event.target.matches("textarea, input:not([type=radio]):not([type=range])");
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing) {
    if (event.key === "Escape") byId("canvas").focus();
    return;
  }
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const within = event.target.matches("input") && event.key.startsWith("Arrow"); // they move between choices
  if (key === "?") byId("keys").showModal();
  else if (key === "P") pause();
  else if (current() !== "item" || within) return;
  else if (key === "Enter") {
    if (event.target.matches("button")) return; // a button does what it says
    if (form.hidden) byId("feedback").querySelector("[data-go]").click();
    else answer();
  } else if (form.hidden || !(chooseByKey(key) || setByKey(key) || viewerKey(event, key))) return;
  event.preventDefault();
}

function button(text, key, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  if (key) {
    const shown = document.createElement("kbd");
    shown.textContent = key;
    made.append(" ", shown);
    made.dataset.key = key;
  }
  made.addEventListener("click", act);
  return made;
}

function build() {
  chooser(byId("rating"), "rating", study.words.map((word, at) => ({ word, value: at, key: RATING_KEYS[at] })));
  byId("classes").hidden = study.classes.length === 0;
  chooser(byId("classes"), "label", study.classes.map((word, at) => ({ word, value: word, key: CLASS_KEYS[at] })));
  byId("comment").hidden = !study.ask_comment;
  byId("region").hidden = !study.ask_region;
  for (const name of Object.keys(study.presets)) {
    const key = keyFor(name, RESERVED);
    const made = button(name, key, () => viewer.choosePreset(name));
    made.dataset.preset = name;
    byId("presets").append(made);
  }
  const [depth] = study.shape;
  for (const [name, word] of Object.entries(GESTURES)) {
    if ((name === "slices" && depth === 1) || (name === "mark" && !study.ask_region)) continue;
    const made = button(word, GESTURE_KEYS[name], () => setGesture(name));
    made.dataset.gesture = name;
    byId("gestures").append(made);
  }
  byId("slices").hidden = depth === 1;
  const slider = byId("slices").querySelector("input");
  slider.max = depth - 1;
  slider.addEventListener("input", () => viewer.goToSlice(Number(slider.value)));
  fillKeys(byId("keys").querySelector("dl"), study);
}

function listen() {
  const acts = {
    smaller: () => viewer.zoomStep(-1),
    larger: () => viewer.zoomStep(1),
    reset: () => viewer.reset(),
    unmark: () => viewer.unmark(),
  };
  for (const [name, act] of Object.entries(acts)) document.querySelector(`[data-act=${name}]`).addEventListener("click", act);
  for (const name of ["intro", "rest"]) byId(name).querySelector("[data-go]").addEventListener("click", () => attempt(go));
  byId("feedback").querySelector("[data-go]").addEventListener("click", () => attempt(go));
  byId("paused").querySelector("[data-go]").addEventListener("click", pause);
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("pause").addEventListener("click", pause);
  byId("device").addEventListener("click", () => attempt(anotherDevice));
  byId("leave").addEventListener("click", () => attempt(async () => location.assign((await post("/api/leave")).page)));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(answer);
  });
  for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", backToLesion);
  document.addEventListener("click", (event) => {
    const byPointer = event.detail > 0; // keys that click a button mean to stay there
    if (byPointer && event.target.closest(".tools button, #region button")) backToLesion();
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", () => (document.hidden ? stopClock() : startClock()));
}

async function attempt(act) {
  try {
    await act();
  } catch (error) {
    await recover(error);
  }
}

async function begin() {
  study = await persist(() => getJson("/api/study"), say);
  trust(study.csrf);
  viewer = new Viewer(byId("canvas"), { ...study, markable: study.ask_region, onChange: reflect });
  build();
  setGesture("window");
  listen();
  now = await persist(() => getJson("/api/now"), say);
  await go();
}

begin().catch((error) => {
  if (error.status === 401) location.assign("/join");
  else throw error;
});
