// The owner's page: how far everyone is, fetched again and again.

import { getJson } from "./server.js";

const EVERY_MS = 2000;
const rows = document.getElementById("readers");
const state = document.getElementById("state");

function cell(text, kind = "td") {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function row(reader) {
  const made = document.createElement("tr");
  const name = cell(reader.name, "th");
  name.scope = "row";
  const bar = document.createElement("progress");
  bar.max = reader.total;
  bar.value = reader.done;
  bar.setAttribute("aria-label", `${reader.name}: ${reader.done} of ${reader.total}`);
  const progress = cell("");
  progress.append(bar);
  const done = cell(`${reader.done} / ${reader.total}`);
  const mean = cell(reader.mean_ms === null ? "–" : `${(reader.mean_ms / 1000).toFixed(1)} s`);
  done.className = mean.className = "number";
  const last = cell(reader.last_at === null ? "–" : new Date(reader.last_at).toLocaleString());
  made.append(name, progress, done, mean, last);
  return made;
}

async function refresh() {
  try {
    const now = await getJson("/api/progress");
    rows.replaceChildren(...now.readers.map(row));
    document.getElementById("nobody").hidden = now.readers.length > 0;
    const text = now.closed ? "Closed: no more answers are taken." : "Open";
    if (state.textContent !== text) state.textContent = text;
  } catch (error) {
    state.textContent = error.status === 401 ? "Signed out." : `Not up to date: ${error.message}`;
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
