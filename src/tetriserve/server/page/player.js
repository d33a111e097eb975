// The controls of a replay: a file comes in by drop or by chooser; play, pause, speed, policy, scrub.

import { Replay, readSchedules } from "./replay.js";

const REFRESH_MS = 200;

export function startPlayer(find, onSource) {
  let schedules = [];
  let replay = null;

  const trouble = (words) => {
    find("replay-trouble").hidden = !words;
    find("replay-trouble").textContent = words ?? "";
  };

  function choose(index) {
    const { speed = 1 } = replay ?? {};
    const atS = replay?.now();
    replay = new Replay(schedules[index]);
    replay.speed = speed;
    replay.seek(atS ?? replay.beginS, true);
    Object.assign(find("scrub"), { min: replay.beginS, max: replay.endS });
    onSource(replay);
    refresh();
  }

  function refresh() {
    if (!replay) return;
    const nowS = replay.now();
    find("scrub").value = nowS;
    find("clock").textContent = `${nowS.toFixed(1)} s of ${replay.endS.toFixed(0)} s`;
    find("play").textContent = replay.playing ? "Pause" : "Play";
  }

  async function load(file) {
    if (!file) return;
    try {
      schedules = readSchedules(await file.text());
    } catch (error) {
      trouble(error.message);
      return;
    }
    trouble(null);
    replay = null;
    find("policy").replaceChildren(...schedules.map((one, index) => new Option(one.policy, index)));
    find("player").hidden = false;
    choose(0);
  }

  const drop = find("drop");
  find("choose").addEventListener("click", () => find("file").click());
  find("file").addEventListener("change", (event) => load(event.target.files[0]));
  // The whole page takes the file: who misses the field would otherwise leave the page.
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") load(event.dataTransfer.files[0]);
    });
  }
  find("policy").addEventListener("change", (event) => choose(Number(event.target.value)));
  find("speed").addEventListener("change", (event) => replay.setSpeed(Number(event.target.value)));
  find("scrub").addEventListener("input", (event) => replay.seek(Number(event.target.value)));
  find("play").addEventListener("click", () => {
    replay.play(!replay.playing);
    refresh();
  });
  setInterval(refresh, REFRESH_MS);
}
