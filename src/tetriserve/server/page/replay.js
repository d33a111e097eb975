// A simulation's schedule as a source: the rows of the board made from the file, and a clock that can be moved.

import { Model } from "./model.js";

const LEAD_S = 2;

// The schedules in a file, or an Error that says what is wrong with it.
export function readSchedules(text) {
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON.");
  }
  const schedules = (document?.schedules ?? []).filter((one) => one.chunks?.length);
  if (!schedules.length && document?.runs) {
    throw new Error("This file has results, but no schedule: run tetriserve simulate with --schedule FILE.");
  }
  if (!schedules.length) throw new Error("There is no schedule in this file. tetriserve simulate --schedule FILE writes one.");
  const numDevices = document.config?.gpus ?? 1 + Math.max(...schedules.flatMap((one) => one.chunks.flatMap((c) => c.devices)));
  return schedules.map((schedule) => ({ policy: schedule.policy, numDevices, view: viewOf(schedule) }));
}

function viewOf(schedule) {
  const done = new Map();
  const begun = new Map();
  const chunks = [...schedule.chunks].sort((a, b) => a.started_s - b.started_s).map((chunk, index) => {
    const first_steps = chunk.request_ids.map((id) => done.get(id) ?? 0);
    for (const id of chunk.request_ids) {
      done.set(id, (done.get(id) ?? 0) + chunk.num_steps);
      if (!begun.has(id)) begun.set(id, chunk.started_s);
    }
    return { chunk_id: index, stage: chunk.stage, request_ids: chunk.request_ids, devices: chunk.devices, first_steps,
      num_steps: chunk.num_steps, state: "done", begin_s: chunk.started_s, end_s: chunk.finished_s };
  });
  const requests = schedule.requests.map((one) => ({
    request_id: one.request_id, size: one.size, num_steps: one.degrees?.length ?? done.get(one.request_id) ?? 0,
    arrival_s: one.arrival_s, deadline_s: one.deadline_s, begin_s: begun.get(one.request_id) ?? null, end_s: one.finished_s,
    state: one.error ? "failed" : one.met_deadline ? "met" : "late",
  }));
  return { type: "snapshot", now_s: 0, requests, chunks };
}

export class Replay {
  clock = "absolute";

  constructor(schedule) {
    this.numDevices = schedule.numDevices;
    this.model = new Model();
    this.model.apply(schedule.view);
    this.beginS = Math.min(...schedule.view.requests.map((row) => row.arrival_s)) - LEAD_S;
    this.endS = Math.max(...schedule.view.chunks.map((chunk) => chunk.end_s)) + LEAD_S;
    this.speed = 1;
    this.playing = false;
    this.atS = this.beginS;
    this.sinceMs = performance.now();
  }

  now() {
    if (!this.playing) return this.atS;
    const nowS = this.atS + ((performance.now() - this.sinceMs) / 1000) * this.speed;
    if (nowS >= this.endS) this.seek(this.endS, false);
    return Math.min(nowS, this.endS);
  }

  seek(atS, playing = this.playing) {
    this.atS = Math.min(Math.max(atS, this.beginS), this.endS);
    this.sinceMs = performance.now();
    this.playing = playing;
  }

  play(playing) {
    const nowS = this.now();
    this.seek(playing && nowS >= this.endS ? this.beginS : nowS, playing);
  }

  setSpeed(speed) {
    this.seek(this.now());
    this.speed = speed;
  }
}
