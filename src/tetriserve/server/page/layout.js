// Where things are on the board, in CSS pixels: requests above, devices below, one axis of time.

import { endS } from "./model.js";

export const LEFT = 52;
const TOP = 6;
const LANES = 84;
const GAP = 12;
const AXIS = 24;

export class Layout {
  // `span` seconds are shown, of which `ahead` lie after now; the origin is a whole pixel, so that nothing shimmers.
  constructor(width, numDevices, nowS, wideS = 60) {
    this.width = width;
    this.numDevices = numDevices;
    this.nowS = nowS;
    this.spanS = width < 640 ? wideS / 2 : wideS;
    this.aheadS = this.spanS / 4;
    this.perS = (width - LEFT) / this.spanS;
    this.originPx = Math.round((nowS - this.spanS + this.aheadS) * this.perS);
    this.rowPx = numDevices > 4 ? 26 : 34;
    this.lanesTop = TOP;
    this.rowsTop = TOP + LANES + GAP;
    this.rowsBottom = this.rowsTop + this.rowPx * numDevices;
    this.height = this.rowsBottom + AXIS;
  }

  get fromS() {
    return this.originPx / this.perS;
  }

  get toS() {
    return this.fromS + this.spanS;
  }

  x(atS) {
    return LEFT + Math.round(atS * this.perS) - this.originPx;
  }

  shows(beginS, endS) {
    return beginS < this.toS && endS > this.fromS;
  }

  // Aligned power-of-two blocks of devices are next to each other, so a block is one rectangle.
  rect(block) {
    const left = Math.max(LEFT, this.x(block.begin_s));
    const right = Math.min(this.width, this.x(endS(block, this.nowS)));
    const top = this.rowsTop + block.devices[0] * this.rowPx + 1;
    return { left, top, width: Math.max(1, right - left), height: block.devices.length * this.rowPx - 2 };
  }

  lane(look, numLanes) {
    const height = Math.min(11, LANES / Math.max(numLanes, 1));
    return { top: this.lanesTop + LANES - (look.lane + 1) * height, height };
  }
}

// The block or request at a point, or null.
export function hit(layout, model, x, y, numLanes) {
  if (x < LEFT) return null;
  for (const block of visibleBlocks(layout, model)) {
    const box = layout.rect(block);
    if (x >= box.left && x <= box.left + box.width && y >= box.top && y <= box.top + box.height) return { block, ids: block.ids };
  }
  for (const row of visibleRequests(layout, model)) {
    const { top, height } = layout.lane(model.looks.get(row.request_id), numLanes);
    const inside = x >= layout.x(row.arrival_s) && x <= layout.x(Math.max(row.deadline_s, row.end_s ?? 0)) + 3;
    if (inside && y >= top && y < top + height) return { block: null, ids: [row.request_id] };
  }
  return null;
}

export function visibleBlocks(layout, model) {
  return model.blocks.filter((block) =>
    layout.shows(block.begin_s, endS(block, layout.nowS)) && model.isKnown(block.ids[0], layout.nowS));
}

export function visibleRequests(layout, model) {
  return [...model.requests.values()].filter((row) =>
    row.arrival_s <= layout.nowS && layout.shows(row.arrival_s, Math.max(row.deadline_s, row.end_s ?? layout.nowS)));
}
