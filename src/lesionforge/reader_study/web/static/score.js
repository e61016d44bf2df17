// Teaching mode: the share of right answers so far, and over the last few.

const LAST = 10;
const SIZE = { width: 300, height: 110, left: 30, bottom: 16, top: 6 };
const SVG = "http://www.w3.org/2000/svg";

function shape(kind, attributes, text = "") {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

export function drawScore(box, score) {
  box.hidden = score.length === 0;
  if (box.hidden) return;
  const right = score.filter(Boolean).length;
  const last = score.slice(-LAST);
  const recent = last.filter(Boolean).length;
  const summary = `${right} of ${score.length} right; of the last ${last.length}, ${recent}.`;
  const x = (at) => SIZE.left + ((SIZE.width - SIZE.left - 8) * at) / Math.max(1, score.length - 1);
  const y = (share) => SIZE.top + (SIZE.height - SIZE.top - SIZE.bottom) * (1 - share);
  const shares = score.map((_, at) => {
    const window = score.slice(Math.max(0, at + 1 - LAST), at + 1);
    return window.filter(Boolean).length / window.length;
  });
  const chart = shape("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": summary });
  for (const share of [0, 0.5, 1]) {
    chart.append(shape("line", { x1: SIZE.left, x2: SIZE.width, y1: y(share), y2: y(share), stroke: "#3a4047" }));
    const text = { x: SIZE.left - 5, y: y(share) + 3, "text-anchor": "end", "font-size": 10, fill: "#a9b2bc" };
    chart.append(shape("text", text, `${100 * share} %`));
  }
  const points = shares.map((share, at) => `${x(at)},${y(share)}`).join(" ");
  chart.append(shape("polyline", { points, fill: "none", stroke: "#f0c75e", "stroke-width": 2 }));
  chart.append(shape("circle", { cx: x(score.length - 1), cy: y(shares.at(-1)), r: 3.5, fill: "#f0c75e" }));
  const caption = document.createElement("p");
  caption.textContent = summary;
  box.replaceChildren(caption, chart);
}
