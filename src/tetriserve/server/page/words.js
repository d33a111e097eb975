// The plan in words: for the tip, the dialog, the table and screen readers alike.

const WORDS = {
  waiting: "waiting", running: "running", met: "on time", late: "late", failed: "failed", cancelled: "cancelled",
};

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return `${value < 0 ? "−" : ""}${size < 10 ? size.toFixed(2) : size.toFixed(1)}\u00a0s`;
}

export function stateWords(model, row, nowS) {
  const state = model.stateAt(row, nowS);
  const open = state === "waiting" || state === "running";
  return open && model.isLate(row, nowS) ? `${WORDS[state]}, ${nowS > row.deadline_s ? "late" : "predicted late"}` : WORDS[state];
}

// Deadline minus the image's time, known or predicted; negative when late.
export function slackS(row) {
  return row.end_s === null ? null : row.deadline_s - row.end_s;
}

export function requestFacts(model, row, nowS) {
  const state = model.stateAt(row, nowS);
  const open = state === "waiting" || state === "running";
  const pairs = [
    ["size", row.size.replace("x", " × ")],
    ["state", stateWords(model, row, nowS)],
    ["steps", `${model.stepsDone(row, nowS)} of ${row.num_steps}`],
    ["deadline", `${seconds(row.deadline_s - row.arrival_s)} after arrival`],
  ];
  if (row.end_s !== null) pairs.push([open ? "predicted" : "ended", `${seconds(row.end_s - row.arrival_s)} after arrival`]);
  if (row.end_s !== null && state !== "failed" && state !== "cancelled") pairs.push(["slack", seconds(slackS(row))]);
  return pairs;
}

export function blockFacts(block) {
  const names = block.devices.length === 1 ? `GPU ${block.devices[0]}` : `GPUs ${block.devices[0]} to ${block.devices.at(-1)}`;
  return [["work", work(block)], ["on", `${names} (degree ${block.devices.length})`]];
}

export function work(block) {
  if (block.stage === "encode") return "prompt encoding";
  if (block.stage === "decode") return "picture decoding";
  const begin = block.chunks[0].first_steps[0];
  const first = Math.floor(begin) + 1;
  const last = Math.ceil(begin + block.chunks.reduce((sum, chunk) => sum + chunk.num_steps, 0));
  return first === last ? `step ${first}` : `steps ${first} to ${last}`;
}

export function sentence(model, block, nowS) {
  const rows = block.ids.map((id) => model.requests.get(id)).filter(Boolean);
  const facts = [...blockFacts(block), ...(rows[0] ? requestFacts(model, rows[0], nowS) : [])];
  return `${block.ids.join(" and ")}: ${facts.map(([term, text]) => `${term} ${text}`).join(", ")}.`;
}

export function fill(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
}

export function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}
