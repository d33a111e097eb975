// Paints the board. Knows colours and shapes; where things are is the layout's, what there is the model's.

import { LEFT, visibleBlocks, visibleRequests } from "./layout.js";
import { endS } from "./model.js";

const DIM = 0.28;
const PLANNED = 0.38;
const LABEL_PX = 34;
const HATCH_PX = 5;
const ROUND_PX = 7;
// Below these sizes a hatch or a dot is not seen as one, and costs as much as a hundred plain rectangles.

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d");
    this.readTheme();
  }

  readTheme() {
    const style = getComputedStyle(document.documentElement);
    const names = ["card", "ink", "quiet", "line", "grid", "future", "late", "accent"];
    this.theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.hatch = this.makeHatch();
  }

  makeHatch() {
    const tile = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
    const ctx = tile.getContext("2d");
    ctx.strokeStyle = this.theme.card;
    ctx.lineWidth = 2;
    for (const shift of [-8, 0, 8]) {
      ctx.moveTo(shift - 1, 9);
      ctx.lineTo(shift + 9, -1);
    }
    ctx.stroke();
    return this.ctx.createPattern(tile, "repeat");
  }

  paint(layout, model, focus, clock) {
    const { ctx, canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(layout.width * ratio), Math.round(layout.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = [width, height];
      canvas.style.height = `${layout.height}px`;
    }
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, layout.width, layout.height);
    ctx.font = "11px system-ui, sans-serif";
    const rows = visibleRequests(layout, model);
    const numLanes = rows.reduce((most, row) => Math.max(most, model.looks.get(row.request_id).lane + 1), 1);
    this.background(layout, clock);
    ctx.save();
    ctx.beginPath();
    ctx.rect(LEFT, 0, layout.width - LEFT, layout.height);
    ctx.clip();
    const lit = focus ? new Set(focus.ids) : null;
    for (const row of rows) this.request(layout, model, row, layout.lane(model.looks.get(row.request_id), numLanes), lit);
    for (const block of visibleBlocks(layout, model)) this.block(layout, model, block, lit, focus?.block?.id === block.id);
    this.now(layout);
    ctx.restore();
    return numLanes;
  }

  background(layout, clock) {
    const { ctx, theme } = this;
    const nowX = layout.x(layout.nowS);
    ctx.fillStyle = theme.future;
    ctx.fillRect(nowX, 0, layout.width - nowX, layout.rowsBottom);
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    for (let device = 0; device <= layout.numDevices; device++) {
      const y = layout.rowsTop + device * layout.rowPx;
      ctx.fillStyle = theme.grid;
      ctx.fillRect(LEFT, y - 0.5, layout.width - LEFT, 1);
      if (device === layout.numDevices) break;
      ctx.fillStyle = theme.quiet;
      ctx.fillText(`GPU ${device}`, 2, y + layout.rowPx / 2);
    }
    ctx.fillStyle = theme.quiet;
    ctx.fillText("images", 2, (layout.lanesTop + layout.rowsTop) / 2);
    this.axis(layout, clock);
  }

  // Live, the axis counts from now; a replay has a clock of its own.
  axis(layout, clock) {
    const { ctx, theme } = this;
    const stepS = layout.spanS > 40 ? 10 : 5;
    const zeroS = clock === "relative" ? layout.nowS : 0;
    const first = Math.ceil((layout.fromS - zeroS) / stepS);
    const last = Math.floor((layout.toS - zeroS) / stepS);
    ctx.textAlign = "center";
    for (let tick = first; tick <= last; tick++) {
      const x = layout.x(zeroS + tick * stepS);
      const atS = tick * stepS;
      if (x < LEFT + 12 || x > layout.width - 14 || (clock === "absolute" && atS < 0)) continue;
      ctx.fillStyle = theme.grid;
      ctx.fillRect(x, layout.rowsTop, 1, layout.rowsBottom - layout.rowsTop);
      ctx.fillStyle = theme.quiet;
      const text = clock === "relative" ? (atS === 0 ? "now" : `${atS > 0 ? "+" : "−"}${Math.abs(atS)} s`) : `${atS} s`;
      ctx.fillText(text, x, layout.rowsBottom + 13);
    }
  }

  now(layout) {
    this.ctx.fillStyle = this.theme.ink;
    this.ctx.globalAlpha = 0.75;
    this.ctx.fillRect(layout.x(layout.nowS), 0, 1, layout.rowsBottom + 4);
    this.ctx.globalAlpha = 1;
  }

  // From arrival to deadline a band, the deadline a stroke, the image a dot: hollow while it is a prediction.
  request(layout, model, row, lane, lit) {
    const { ctx, theme } = this;
    const colour = model.colour(row.request_id);
    const [begin, due] = [layout.x(row.arrival_s), layout.x(row.deadline_s)];
    const middle = lane.top + lane.height / 2;
    const strength = lit && !lit.has(row.request_id) ? DIM : 1;
    const thick = Math.max(2, lane.height * 0.5);
    ctx.globalAlpha = 0.42 * strength;
    ctx.fillStyle = colour;
    ctx.fillRect(begin, middle - thick / 2, Math.max(2, due - begin), thick);
    ctx.globalAlpha = strength;
    const late = model.isLate(row, layout.nowS);
    const state = model.stateAt(row, layout.nowS);
    const ended = state !== "waiting" && state !== "running";
    if (row.end_s !== null && state !== "failed" && state !== "cancelled") {
      const end = layout.x(ended ? row.end_s : Math.max(row.end_s, layout.nowS));
      if (late) {
        ctx.fillStyle = theme.late;
        ctx.fillRect(due, middle - 0.5, end - due, 1);
      }
      this.dot(end, middle, lane.height, late ? theme.late : colour, ended);
    }
    ctx.fillStyle = theme.ink;
    ctx.fillRect(due - 1, middle - lane.height * 0.45, 2, lane.height * 0.9);
    ctx.globalAlpha = 1;
  }

  dot(x, y, height, colour, filled) {
    const { ctx } = this;
    ctx.fillStyle = filled ? colour : this.theme.card;
    if (height < ROUND_PX) {
      ctx.fillStyle = colour;
      ctx.fillRect(x - 1, y - 1, 3, 2);
      return;
    }
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.arc(x, y, 3.6, 0, 7);
    ctx.fill();
    ctx.stroke();
  }

  block(layout, model, block, lit, focused) {
    const { ctx, theme } = this;
    const box = layout.rect(block);
    const dim = lit && !block.ids.some((id) => lit.has(id)) ? DIM : 1;
    const nowX = layout.x(layout.nowS);
    const done = Math.min(Math.max(nowX - box.left, 0), box.width);
    // A hairline between neighbours, unless the block is a hairline itself.
    const width = box.width > 3 ? box.width - 1 : box.width;
    const band = box.height / block.ids.length;
    block.ids.forEach((id, index) => {
      const row = model.requests.get(id);
      const top = box.top + index * band;
      const given = row && model.stateAt(row, layout.nowS);
      const faint = given === "cancelled" || given === "failed" || block.state === "lost" ? 0.4 : 1;
      ctx.fillStyle = model.colour(id);
      ctx.globalAlpha = dim * faint;
      ctx.fillRect(box.left, top, Math.min(done, width), band);
      ctx.globalAlpha = PLANNED * dim * faint;
      if (done < width) ctx.fillRect(box.left + done, top, width - done, band);
      ctx.globalAlpha = dim;
      if (block.stage !== "denoise") this.shade(box.left, top, width, band, dim);
      if (row && model.isLate(row, layout.nowS)) {
        ctx.fillStyle = width < HATCH_PX ? theme.card : this.hatch;
        ctx.globalAlpha = width < HATCH_PX ? 0.3 : 0.62;
        ctx.fillRect(box.left, top, width, band);
      }
    });
    ctx.globalAlpha = dim;
    if (endS(block, layout.nowS) > layout.nowS && width > 4) {
      ctx.strokeStyle = model.colour(block.ids[0]);
      ctx.lineWidth = 1;
      ctx.strokeRect(box.left + 0.5, box.top + 0.5, width - 1, box.height - 1);
    }
    ctx.globalAlpha = 1;
    if (block.stage === "denoise" && width >= LABEL_PX) this.label(model, block, box, width, dim);
    if (focused) {
      ctx.strokeStyle = theme.ink;
      ctx.lineWidth = 2;
      ctx.strokeRect(box.left, box.top, width, box.height);
    }
  }

  shade(left, top, width, height, dim) {
    this.ctx.fillStyle = "#000";
    this.ctx.globalAlpha = 0.34 * dim;
    this.ctx.fillRect(left, top, width, height);
  }

  label(model, block, box, width, dim) {
    const { ctx } = this;
    const row = model.requests.get(block.ids[0]);
    if (!row) return;
    const text = block.ids.length > 1 ? `${block.ids.length} × ${short(row.size)}` : short(row.size);
    if (ctx.measureText(text).width > width - 8) return;
    // On a hatch, letters need a ground of their own.
    const half = ctx.measureText(text).width / 2 + 4;
    const [x, y] = [box.left + width / 2, box.top + box.height / 2];
    ctx.globalAlpha = dim;
    ctx.fillStyle = model.colour(block.ids[0]);
    ctx.fillRect(x - half, y - 8, 2 * half, 16);
    ctx.fillStyle = "rgb(0 0 0 / .78)";
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText(text, x, y);
    ctx.globalAlpha = 1;
  }
}

export function short(size) {
  const [width, height] = size.split("x");
  return width === height ? `${width}²` : `${width}×${height}`;
}
