// The gallery: cards of images that are being made and of those that this browser has made.

import { Store } from "./store.js";
import { element, seconds } from "./words.js";

export class Gallery {
  constructor(find, onOpen) {
    Object.assign(this, { find, onOpen, list: find("gallery") });
    this.images = new Map(); // key -> image; the newest first on the page
    this.newServer();
    find("clear").addEventListener("click", () => this.clear());
  }

  async start() {
    this.store = await new Store().open();
    for (const image of (await this.store.all()).sort((a, b) => a.key - b.key)) this.put(image);
    this.note();
  }

  // Requests' ids begin anew with every server: those of an earlier one, or an earlier page load, name nothing here.
  newServer() {
    this.session = crypto.getRandomValues(new Uint32Array(2)).join("-");
  }

  ofRequest(requestId) {
    return [...this.images.values()].find((image) => image.session === this.session && image.requestId === requestId);
  }

  async add(image) {
    const kept = { ...image, key: Date.now() + Math.random(), session: this.session };
    this.put(kept);
    this.note();
    await this.store?.add(kept);
  }

  put(image) {
    this.images.set(image.key, image);
    this.list.insertBefore(this.card(image), this.list.querySelector(".shot:not(.making)"));
  }

  async clear() {
    this.images.clear();
    for (const card of this.list.querySelectorAll(".shot:not(.making)")) card.remove();
    this.note();
    await this.store?.clear();
  }

  note() {
    this.find("gallery-empty").hidden = this.list.children.length > 0;
    this.find("clear").hidden = this.images.size === 0;
  }

  card(image) {
    const card = element("li", undefined, "shot");
    const url = URL.createObjectURL(image.blob);
    const picture = Object.assign(element("img"), { src: url, alt: image.prompt, loading: "lazy" });
    const frame = element("div", undefined, "frame");
    frame.append(picture);
    const about = element("div", undefined, "about");
    about.append(element("p", image.prompt, "words"), verdict(image.report), strip(image.report.degrees), this.acts(card, image, url));
    card.append(frame, about);
    return card;
  }

  acts(card, image, url) {
    const acts = element("p", undefined, "acts");
    const save = Object.assign(element("a", "Save"), { href: url, download: `${fileName(image.prompt)}.png` });
    const details = button("Details", () => this.onOpen(image));
    const remove = button("Remove", async () => {
      this.images.delete(image.key);
      card.remove();
      URL.revokeObjectURL(url);
      this.note();
      await this.store?.remove(image.key);
    });
    acts.append(save, details, remove);
    return acts;
  }

  // A card for what is being made: shows steps and partial images, and can cancel.
  making(prompt, onCancel) {
    const card = element("li", undefined, "shot making");
    const frame = element("div", undefined, "frame");
    const picture = Object.assign(element("img"), { alt: `${prompt}, unfinished`, hidden: true });
    frame.append(picture);
    const bar = Object.assign(element("progress"), { max: 1, value: 0 });
    bar.setAttribute("aria-label", `Progress of ${prompt}`);
    const note = element("p", "Waiting for a GPU", "quiet");
    const acts = element("p", undefined, "acts");
    acts.append(button("Cancel", onCancel));
    const about = element("div", undefined, "about");
    about.append(element("p", prompt, "words"), note, bar, acts);
    card.append(frame, about);
    this.list.prepend(card);
    this.note();
    return {
      steps: (done, total) => {
        [bar.max, bar.value] = [total, done];
        note.textContent = done === total ? "Decoding the picture" : `${done} of ${total} steps`;
      },
      partial: (source) => Object.assign(picture, { src: source, hidden: false }),
      remove: () => {
        card.remove();
        this.note();
      },
    };
  }
}

function verdict(report) {
  const slack = report.slo_s - report.latency_s;
  const text = report.met_deadline ? `On time: ${report.latency_s.toFixed(2)} of ${seconds(report.slo_s)}` : `${seconds(-slack)} late`;
  return element("p", text, report.met_deadline ? "met" : "missed");
}

// One bar a step, as high as the number of GPUs it ran on.
function strip(degrees) {
  const most = Math.max(...degrees);
  const made = element("div", undefined, "strip");
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", `GPUs of every step: ${degrees.join(", ")}`);
  made.title = `GPUs of every step: ${degrees.join(" ")}`;
  for (const degree of degrees) {
    const bar = element("i");
    bar.style.height = `${(100 * degree) / Math.max(most, 2)}%`;
    made.append(bar);
  }
  return made;
}

function button(text, action) {
  const made = Object.assign(element("button", text, "plain"), { type: "button" });
  made.addEventListener("click", action);
  return made;
}

function fileName(prompt) {
  return prompt.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 40) || "image";
}
