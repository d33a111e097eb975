// What is known of requests and chunks, and the blocks to draw: chunks that only planning separates are one block.
// Rows are those of the server's board (docs/page.md); a replay makes the same rows from a file.

export const COLOURS = ["#6aa3dc", "#e3b04b", "#6fbf8d", "#a78bd4", "#e58f5a", "#4fb6b8", "#d987b0", "#a9b355", "#8c9db5", "#bf9670"];
const ENDED = new Set(["met", "late", "failed", "cancelled"]);
const GAP_S = 0.03;
const MAX_LANES = 28;

export class Model {
  constructor(keepS = Infinity) {
    this.keepS = keepS;
    this.clear();
  }

  clear() {
    this.requests = new Map();
    this.chunks = new Map();
    this.looks = new Map(); // id -> colour and lane, which a request keeps
    this.lanesS = []; // when the last request of each lane is over
    this.numSeen = 0;
    this.blocks = [];
    this.version = 0;
  }

  // A row replaces the one of the same id; planned chunks come whole every time, so the missing ones are void.
  apply(view) {
    if (view.type === "snapshot") this.clear();
    for (const [id, chunk] of this.chunks) if (chunk.state === "planned") this.chunks.delete(id);
    for (const chunk of view.chunks) this.chunks.set(chunk.chunk_id, chunk);
    const rows = [...view.requests].sort((a, b) => a.arrival_s - b.arrival_s);
    for (const row of rows) {
      this.requests.set(row.request_id, row);
      if (!this.looks.has(row.request_id)) this.looks.set(row.request_id, this.newLook(row));
    }
    this.forget(view.now_s - this.keepS);
    this.blocks = blocksOf([...this.chunks.values()].sort((a, b) => a.begin_s - b.begin_s || a.chunk_id - b.chunk_id));
    this.version++;
  }

  newLook(row) {
    const free = this.lanesS.findIndex((overS) => overS <= row.arrival_s);
    const lane = free >= 0 ? free : this.lanesS.length % MAX_LANES;
    this.lanesS[lane] = lastS(row);
    return { colour: COLOURS[this.numSeen++ % COLOURS.length], lane };
  }

  forget(beforeS) {
    for (const [id, row] of this.requests) {
      if (!ENDED.has(row.state) || lastS(row) >= beforeS) continue;
      this.requests.delete(id);
      this.looks.delete(id);
    }
    for (const [id, chunk] of this.chunks) if (chunk.end_s < beforeS) this.chunks.delete(id);
  }

  colour(id) {
    return this.looks.get(id)?.colour ?? "#999";
  }

  // A request as it is at a time; a replay knows the end of all of them.
  stateAt(row, nowS) {
    if (!ENDED.has(row.state) || row.end_s <= nowS) return row.state;
    return row.begin_s !== null && row.begin_s <= nowS ? "running" : "waiting";
  }

  isLate(row, nowS) {
    const state = this.stateAt(row, nowS);
    if (state === "late") return true;
    if (ENDED.has(state)) return false;
    return nowS > row.deadline_s || (row.end_s !== null && row.end_s > row.deadline_s);
  }

  stepsDone(row, nowS) {
    if (row.num_steps_done !== undefined) return row.num_steps_done;
    let done = 0;
    for (const block of this.blocksOf(row.request_id)) if (block.stage === "denoise") {
      for (const chunk of block.chunks) if (chunk.end_s <= nowS) done += chunk.num_steps;
    }
    return Math.floor(done);
  }

  blocksOf(id) {
    return this.blocks.filter((block) => block.ids.includes(id));
  }

  // Whether a request has come by then: a replay must not show the future's requests.
  isKnown(id, nowS) {
    const row = this.requests.get(id);
    return row !== undefined && row.arrival_s <= nowS;
  }

  numbers(nowS, numDevices, overS = 10) {
    const count = { met: 0, late: 0, failed: 0, cancelled: 0, waiting: 0, running: 0 };
    for (const row of this.requests.values()) if (row.arrival_s <= nowS) count[this.stateAt(row, nowS)]++;
    const fromS = Math.max(0, nowS - overS);
    let busyS = 0;
    for (const block of this.blocks) {
      busyS += Math.max(0, Math.min(endS(block, nowS), nowS) - Math.max(block.begin_s, fromS)) * block.devices.length;
    }
    const share = nowS > fromS ? Math.min(1, busyS / ((nowS - fromS) * numDevices)) : 0;
    return { ...count, ended: count.met + count.late + count.failed, busy: share };
  }
}

// What was predicted to be over and is not ends now.
export function endS(block, nowS) {
  return block.open && block.begin_s <= nowS ? Math.max(block.end_s, nowS) : block.end_s;
}

function lastS(row) {
  return row === undefined ? -Infinity : Math.max(row.deadline_s, row.end_s ?? -Infinity);
}

function blocksOf(chunks) {
  const last = new Map();
  const blocks = [];
  for (const chunk of chunks) {
    if (chunk.end_s <= chunk.begin_s && chunk.state !== "planned") continue;
    const kind = chunk.stage === "denoise" ? "" : chunk.stage;
    const key = `${chunk.request_ids} ${chunk.devices} ${kind}`;
    const block = last.get(key);
    if (block && chunk.begin_s - block.end_s < GAP_S) {
      block.end_s = Math.max(block.end_s, chunk.end_s);
      block.open = chunk.state === "planned";
      block.chunks.push(chunk);
      continue;
    }
    const made = { id: chunk.chunk_id, ids: chunk.request_ids, devices: chunk.devices, stage: chunk.stage, state: chunk.state,
      begin_s: chunk.begin_s, end_s: chunk.end_s, open: chunk.state === "planned", chunks: [chunk] };
    last.set(key, made);
    blocks.push(made);
  }
  return blocks;
}
