// The server's board as a source: keeps the stream open, and the server's clock between its messages.

import { ApiError, call } from "./api.js";
import { Model } from "./model.js";
import { events } from "./sse.js";

const KEEP_S = 120;
const RETRY_MS = 2000;
const JUMP_S = 0.25;

export class Live {
  clock = "relative";

  // `onChange` gets the newest view; `onTrouble` words, or null when all is well again.
  constructor(onChange, onTrouble, numDevices) {
    Object.assign(this, { onChange, onTrouble, numDevices });
    this.model = new Model(KEEP_S);
    this.offsetS = null;
    this.heldS = null;
  }

  now() {
    return this.heldS ?? this.clockS();
  }

  clockS() {
    return performance.now() / 1000 + (this.offsetS ?? 0);
  }

  get isHeld() {
    return this.heldS !== null;
  }

  hold(held) {
    this.heldS = held ? this.clockS() : null;
  }

  async start() {
    for (;;) {
      try {
        const response = await call(`/v1/board/events?seconds=${KEEP_S}`);
        this.onTrouble(null);
        for await (const event of events(response)) if (event.name === "board") this.take(event.data);
        this.onTrouble("The server has ended the live view; asking again.");
      } catch (error) {
        if (error.status === 401) return;
        this.onTrouble(error instanceof ApiError ? error.message : "The live view broke off; asking again.");
      }
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }

  take(view) {
    const offsetS = view.now_s - performance.now() / 1000;
    // Messages come a little late, now more, now less: the clock follows slowly, so that the board doesn't tremble.
    const differs = this.offsetS === null || Math.abs(offsetS - this.offsetS) > JUMP_S;
    this.offsetS = differs ? offsetS : this.offsetS + 0.1 * (offsetS - this.offsetS);
    this.numDevices = view.num_devices;
    if (view.type === "snapshot" || view.requests.length || view.chunks.length) this.model.apply(view);
    if (view.failure) this.onTrouble(`Nothing can be served any more: ${view.failure}`);
    this.onChange(view);
  }
}
