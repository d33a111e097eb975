// The board as a thing on the page: it redraws when time has moved by a pixel or something has changed, and says
// what the pointer or the arrow keys are on. `source` has a model, now(), numDevices and clock ("relative" or not).

import { Layout, hit, visibleBlocks } from "./layout.js";
import { Painter } from "./paint.js";
import { blockFacts, element, fill, requestFacts, sentence } from "./words.js";

const TIP_GAP = 14;

export class Board {
  constructor(canvas, tip, said, onOpen) {
    Object.assign(this, { canvas, tip, said, onOpen });
    this.painter = new Painter(canvas);
    this.source = null;
    this.pointer = null;
    this.keyed = null; // the block that the arrow keys are on
    this.drawn = "";
    canvas.addEventListener("pointermove", (event) => this.point(event));
    canvas.addEventListener("pointerleave", () => this.unpoint());
    canvas.addEventListener("click", () => this.open());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.move(null));
    requestAnimationFrame(() => this.frame());
  }

  show(source) {
    this.source = source;
    this.keyed = null;
    this.drawn = "";
  }

  repaint() {
    this.painter.readTheme();
    this.drawn = "";
  }

  frame() {
    if (this.source && this.canvas.clientWidth) this.drawIfChanged();
    requestAnimationFrame(() => this.frame());
  }

  drawIfChanged() {
    const layout = new Layout(this.canvas.clientWidth, this.source.numDevices, this.source.now());
    const key = [layout.originPx, layout.width, layout.height, this.source.model.version, this.keyed,
      this.pointer?.x, this.pointer?.y, devicePixelRatio].join();
    if (key === this.drawn) return;
    this.drawn = key;
    this.draw(layout);
  }

  draw(layout) {
    this.layout = layout;
    const model = this.source.model;
    this.found = this.keyedBlock() ?? (this.pointer && hit(layout, model, this.pointer.x, this.pointer.y, this.numLanes));
    this.numLanes = this.painter.paint(layout, model, this.found, this.source.clock);
    this.tell();
  }

  keyedBlock() {
    const block = this.keyed === null ? undefined : this.source.model.blocks.find((one) => one.id === this.keyed);
    return block ? { block, ids: block.ids } : null;
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    this.pointer = { x: event.clientX - box.left, y: event.clientY - box.top };
    this.keyed = null;
  }

  unpoint() {
    this.pointer = null;
  }

  open() {
    const found = this.keyedBlock() ?? this.found;
    if (found) this.onOpen(found, this.source);
  }

  // The tip stands beside the block or the pointer, on the side where there is room.
  tell() {
    this.tip.hidden = !this.found;
    if (!this.found) return;
    const { model } = this.source;
    const { block, ids } = this.found;
    const rows = ids.map((id) => model.requests.get(id)).filter(Boolean);
    const list = element("dl", undefined, "facts");
    fill(list, [...(block ? blockFacts(block) : []), ...(rows[0] ? requestFacts(model, rows[0], this.layout.nowS) : [])]);
    this.tip.replaceChildren(element("strong", ids.join(", ")), list);
    const box = block && this.keyed !== null ? this.layout.rect(block) : null;
    const x = box ? box.left + Math.min(box.width, 40) : this.pointer.x;
    const y = box ? box.top + box.height : this.pointer.y;
    const left = x + TIP_GAP + this.tip.offsetWidth > this.layout.width ? x - TIP_GAP - this.tip.offsetWidth : x + TIP_GAP;
    this.tip.style.transform = `translate(${Math.max(0, left)}px, ${y + TIP_GAP}px)`;
  }

  key(event) {
    const moves = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    if (event.key in moves) this.step(...moves[event.key]);
    else if (event.key === "Enter") this.open();
    else if (event.key === "Escape") this.move(null);
    else return;
    event.preventDefault();
  }

  // Left and right along the row of a GPU, up and down to what is beside it at that time.
  step(along, across) {
    if (!this.layout) return;
    const blocks = visibleBlocks(this.layout, this.source.model).sort((a, b) => a.begin_s - b.begin_s);
    const current = this.keyedBlock()?.block;
    if (!current) {
      const begun = blocks.filter((block) => block.begin_s <= this.layout.nowS);
      this.move(begun.at(-1) ?? blocks[0] ?? null);
      return;
    }
    if (along) {
      const row = blocks.filter((block) => block.devices.includes(this.row ?? current.devices[0]));
      const next = row[row.findIndex((block) => block.id === current.id) + along];
      if (next) this.move(next, this.row);
      return;
    }
    const row = across > 0 ? current.devices.at(-1) + 1 : current.devices[0] - 1;
    const middle = (Math.max(current.begin_s, this.layout.fromS) + current.end_s) / 2;
    const distance = (block) => Math.max(block.begin_s - middle, middle - block.end_s, 0);
    const there = blocks.filter((block) => block.devices.includes(row)).sort((a, b) => distance(a) - distance(b));
    if (there.length) this.move(there[0], row);
  }

  move(block, row = null) {
    this.keyed = block ? block.id : null;
    this.row = row ?? block?.devices[0];
    this.pointer = null;
    this.said.textContent = block ? sentence(this.source.model, block, this.source.now()) : "";
  }
}
