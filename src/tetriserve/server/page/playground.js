// The form: what the model offers, one request at a time or several, what comes back as it comes.

import { generate, sentence } from "./api.js";
import { events } from "./sse.js";
import { seconds } from "./words.js";

const PARTIALS = 3;

export class Playground {
  constructor(find, gallery) {
    Object.assign(this, { find, gallery });
    find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.make();
    });
    find("prompt").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("form").requestSubmit();
    });
    for (const id of ["size", "steps", "class"]) find(id).addEventListener("input", () => this.hint());
  }

  offer(model) {
    const { find } = this;
    this.offered = model.tetriserve;
    const { sizes, default_size, guidance, service_classes } = this.offered;
    find("size").replaceChildren(...sizes.map(({ size }) => new Option(size.replace("x", "×"), size, false, size === default_size)));
    find("class").replaceChildren(...service_classes.map((name) => new Option(name, name, false, name === "standard")));
    find("steps").value ||= this.offered.default_num_inference_steps; // whoever was quicker keeps what they typed
    find("guidance").value ||= this.offered.default_guidance_scale;
    find("guidance-row").hidden = guidance === "none";
    find("negative-row").hidden = guidance !== "true_cfg";
    this.hint();
  }

  // The fastest possible time grows with the steps: what the server says of its own number of them is scaled.
  hint() {
    const size = this.offered?.sizes.find((one) => one.size === this.find("size").value);
    if (!size) return;
    const share = (Number(this.find("steps").value) || 1) / this.offered.default_num_inference_steps;
    const usual = share === 1 && this.find("class").value === "standard";
    this.find("deadline").placeholder = usual ? `${size.default_slo_s.toFixed(1)} (default)` : "default of size and class";
    this.find("deadline-hint").textContent = `About ${seconds(size.fastest_s * share)} if it had all GPUs to itself.`;
  }

  body() {
    const { find } = this;
    const number = (id) => (find(id).value === "" ? undefined : Number(find(id).value));
    const deadline = number("deadline");
    return {
      prompt: find("prompt").value, size: find("size").value, num_inference_steps: number("steps"), seed: number("seed"),
      slo_ms: deadline === undefined ? undefined : deadline * 1000, service_class: find("class").value || undefined,
      guidance_scale: find("guidance-row").hidden ? undefined : number("guidance"),
      negative_prompt: find("negative").value || undefined, stream: true, partial_images: PARTIALS,
    };
  }

  async make() {
    this.trouble(null);
    const body = this.body();
    const stop = new AbortController();
    const card = this.gallery.making(body.prompt, () => stop.abort());
    try {
      await this.follow(await generate(body, stop.signal), body, card);
    } catch (error) {
      if (error.name !== "AbortError") this.trouble(error.message);
      if (error.status === 401) this.find("key-row").hidden = false;
    } finally {
      card.remove();
    }
  }

  async follow(response, body, card) {
    let requestId = null;
    for await (const { name, data } of events(response)) {
      if (name === "tetriserve.progress") {
        requestId = data.request_id;
        card.steps(data.num_steps_done, data.num_inference_steps);
      } else if (name === "image_generation.partial_image") card.partial(dataUrl(data));
      else if (name === "error") throw new Error(sentence(data.error.message));
      else if (name === "image_generation.completed") {
        const blob = fileOf(data);
        await this.gallery.add({ requestId, prompt: body.prompt, size: data.size, blob, report: data.tetriserve });
        return;
      }
    }
    throw new Error("The server broke off before the image was there.");
  }

  trouble(words) {
    this.find("trouble").hidden = !words;
    this.find("trouble").textContent = words ?? "";
  }
}

function dataUrl({ output_format, b64_json }) {
  return `data:image/${output_format};base64,${b64_json}`;
}

function fileOf({ output_format, b64_json }) {
  const bytes = Uint8Array.from(atob(b64_json), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: `image/${output_format}` });
}
