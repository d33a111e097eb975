// What stands beside the board: the numbers, the table, and what a screen reader is told.

import { element, seconds, slackS, stateWords } from "./words.js";

const REFRESH_MS = 500;
const SAY_EVERY_MS = 3000;
const MAX_ROWS = 100;
const ENDED = new Set(["met", "late", "failed", "cancelled"]);

export function startBeside(find, getSource) {
  let seen = new Map();
  let saidMs = 0;
  let news = [];

  function refresh() {
    const source = getSource();
    if (!source) return;
    const nowS = source.now();
    numbers(find, source.model.numbers(nowS, source.numDevices));
    if (find("table-box").open) find("rows").replaceChildren(...tableRows(source.model, nowS));
    listen(source.model, nowS);
  }

  // Ends are told, several at once and not too often.
  function listen(model, nowS) {
    const now = new Map();
    for (const row of model.requests.values()) if (row.arrival_s <= nowS) now.set(row.request_id, model.stateAt(row, nowS));
    for (const [id, state] of now) {
      if (ENDED.has(state) && seen.has(id) && !ENDED.has(seen.get(id))) news.push(`${id} ${stateWords(model, model.requests.get(id), nowS)}`);
    }
    seen = now;
    if (!news.length || performance.now() - saidMs < SAY_EVERY_MS) return;
    find("said").textContent = news.length > 4 ? `${news.length} images ended; the last: ${news.at(-1)}.` : `${news.join(", ")}.`;
    saidMs = performance.now();
    news = [];
  }

  find("table-box").addEventListener("toggle", refresh);
  setInterval(refresh, REFRESH_MS);
  return refresh;
}

function numbers(find, count) {
  const met = find("number-met");
  met.textContent = count.ended ? `${Math.round((100 * count.met) / count.ended)} %` : "–";
  if (count.ended) met.append(" ", element("small", `${count.met} of ${count.ended}`));
  find("number-waiting").textContent = count.waiting;
  find("number-running").textContent = count.running;
  find("number-busy").textContent = `${Math.round(100 * count.busy)} %`;
}

function tableRows(model, nowS) {
  const rows = [...model.requests.values()].filter((row) => row.arrival_s <= nowS).sort((a, b) => b.arrival_s - a.arrival_s);
  return rows.slice(0, MAX_ROWS).map((row) => {
    const last = model.blocksOf(row.request_id).filter((block) => block.begin_s <= nowS).at(-1);
    const line = element("tr");
    const head = element("th", row.request_id);
    head.scope = "row";
    const cells = [row.size, stateWords(model, row, nowS), `${model.stepsDone(row, nowS)} of ${row.num_steps}`,
      last ? last.devices.join(", ") : "–", seconds(row.deadline_s - row.arrival_s),
      row.end_s === null ? "–" : seconds(row.end_s - row.arrival_s), seconds(slackS(row))];
    line.append(head, ...cells.map((text) => element("td", text)));
    return line;
  });
}
