// Which key does what, and the buttons and lists that say so.

export function keyFor(name, taken) {
  const letter = [...name.toUpperCase()].find((each) => /[A-Z]/.test(each) && !taken.has(each)) ?? "";
  taken.add(letter);
  return letter;
}

function element(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

// Radio buttons that look like what they are: one answer of several, each with its key.
export function chooser(fieldset, name, choices) {
  for (const { word, value, key } of choices) {
    const label = document.createElement("label");
    label.className = "choice";
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name, value });
    label.append(input, element("span", word));
    if (key) {
      input.dataset.key = key;
      label.append(element("kbd", key));
    }
    fieldset.append(label);
  }
}

export function fillKeys(list, study) {
  const rows = [
    [`1–${study.words.length}`, `real or synthetic: ${study.words.join(", ")}`],
    study.classes.length ? [`A, S, D …`, `class: ${study.classes.join(", ")}`] : null,
    study.ask_comment ? ["C, Esc", "write a comment; leave it"] : null,
    ["Enter", "answer; go on"],
    ["drag, Shift + arrows", "window: across for its width, down for its level"],
    ["right drag, pinch, + −", "zoom"],
    ["Shift + drag, two fingers, arrows", "pan"],
    study.shape[0] > 1 ? ["wheel, Page up / down, , .", "slices"] : ["wheel", "zoom"],
    study.ask_region ? ["X", "mark: drag, or arrows to move and Shift + arrows to resize; Delete removes"] : null,
    ["W, N, Z", "what dragging does: window, pan, zoom"],
    ["R", "view as at first"],
    ["P", "pause"],
  ];
  for (const row of rows.filter(Boolean)) {
    const key = document.createElement("dt");
    key.append(element("kbd", row[0]));
    list.append(key, element("dd", row[1]));
  }
}
