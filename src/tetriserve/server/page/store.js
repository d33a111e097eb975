// This browser's images, in its own database: they survive a reload and never leave the machine.

const MAX_IMAGES = 60;

export class Store {
  async open() {
    this.database = await new Promise((done) => {
      const request = indexedDB.open("tetriserve", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("images", { keyPath: "key" });
      request.onsuccess = () => done(request.result);
      request.onerror = () => done(null); // private windows may have none: then the gallery lasts as long as the page
    });
    return this;
  }

  async all() {
    return (await this.ask("readonly", (images) => images.getAll())) ?? [];
  }

  async add(image) {
    await this.ask("readwrite", (images) => images.put(image));
    const old = (await this.all()).sort((a, b) => b.key - a.key).slice(MAX_IMAGES);
    for (const one of old) await this.remove(one.key);
  }

  remove(key) {
    return this.ask("readwrite", (images) => images.delete(key));
  }

  clear() {
    return this.ask("readwrite", (images) => images.clear());
  }

  async ask(mode, action) {
    if (!this.database) return undefined;
    const request = action(this.database.transaction("images", mode).objectStore("images"));
    return new Promise((done) => {
      request.onsuccess = () => done(request.result);
      request.onerror = () => done(undefined);
    });
  }
}
