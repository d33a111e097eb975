// The dialog of one image or one block: its picture, if this browser has made it, and how it was served.

import { blockFacts, fill, requestFacts, seconds } from "./words.js";

export class Detail {
  constructor(find) {
    this.find = find;
    find("detail").addEventListener("close", () => URL.revokeObjectURL(find("detail-image").src));
  }

  ofBlock({ block, ids }, source, gallery) {
    const facts = block ? [...blockFacts(block)] : [];
    const row = source.model.requests.get(ids[0]);
    if (row) facts.push(...requestFacts(source.model, row, source.now()));
    const image = source.clock === "relative" ? ids.map((id) => gallery.ofRequest(id)).find(Boolean) : undefined;
    const why = source.clock === "relative" ? "Pictures are shown to whoever asked for them; this browser has none of this request."
      : "A simulation makes no pictures.";
    this.show(ids.join(", "), image, image ? image.prompt : why, facts);
  }

  ofImage(image) {
    const { report } = image;
    const met = report.met_deadline ? "on time" : "late";
    this.show(image.prompt, image, "", [
      ["size", image.size.replace("x", " × ")], ["seed", report.seed], ["steps", report.num_inference_steps],
      ["deadline", `${seconds(report.slo_s)} (${met})`], ["took", seconds(report.latency_s)], ["waited", seconds(report.queue_s)],
      ["GPU time", seconds(report.gpu_seconds)], ["GPUs a step", report.degrees.join(" ")],
      ...report.warnings.map((text) => ["note", text]),
    ]);
  }

  show(title, image, note, facts) {
    const picture = this.find("detail-image");
    this.find("detail-title").textContent = title;
    picture.hidden = !image;
    if (image) Object.assign(picture, { src: URL.createObjectURL(image.blob), alt: image.prompt });
    this.find("detail-note").textContent = note;
    fill(this.find("detail-facts"), facts);
    this.find("detail").showModal();
  }
}
