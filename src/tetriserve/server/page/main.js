// Puts the page together: what is served, the form, the gallery, and the board, live or as a replay.

import { apiKey, health, model, setApiKey } from "./api.js";
import { startBeside } from "./beside.js";
import { Board } from "./board.js";
import { Detail } from "./detail.js";
import { Gallery } from "./gallery.js";
import { Live } from "./live.js";
import { startPlayer } from "./player.js";
import { Playground } from "./playground.js";
import { startTheme } from "./theme.js";

const find = (id) => document.getElementById(id);
const replaying = new URLSearchParams(location.search).has("replay");
const detail = new Detail(find);
const gallery = new Gallery(find, (image) => detail.ofImage(image));
const board = new Board(find("board"), find("tip"), find("block-said"), (found, source) => detail.ofBlock(found, source, gallery));
let source = null;

const refresh = startBeside(find, () => source);
startTheme(find("theme"), () => board.repaint());
if (replaying) replay();
else serve();

function show(next) {
  source = next;
  board.show(next);
  refresh();
}

function empty(words) {
  find("empty").hidden = !words;
  find("empty").textContent = words ?? "";
}

function replay() {
  document.title = "TetriServe: replay";
  for (const id of ["playground", "gallery-card"]) find(id).hidden = true;
  find("replay").hidden = false;
  Object.assign(find("replay-link"), { href: "/", textContent: "Live board" });
  find("board-title").textContent = "The board, simulated";
  empty("Nothing to replay yet: choose a schedule.");
  show(nothing());
  startPlayer(find, (next) => {
    empty(null);
    show(next);
  });
}

// Eight empty rows, so that the board looks like one before there is a file.
function nothing() {
  const idle = new Live(() => {}, () => {}, 8);
  idle.hold(true);
  return idle;
}

async function serve() {
  const playground = new Playground(find, gallery);
  find("key").value = apiKey();
  find("key").addEventListener("change", (event) => {
    setApiKey(event.target.value.trim());
    connect(playground);
  });
  find("hold").hidden = false;
  await connect(playground);
  await gallery.start(); // below the board, which has its height by now: what could be clicked doesn't jump away
}

async function connect(playground) {
  let numDevices = 1;
  try {
    const { model: name, policy, num_devices: number, status } = await health();
    numDevices = number;
    find("serving").textContent = `${name} on ${number} ${number === 1 ? "device" : "devices"}, policy ${policy}`;
    if (status !== "ok") playground.trouble("The server runs, but can serve nothing any more.");
    playground.offer(await model());
    playground.trouble(null);
  } catch (error) {
    find("key-row").hidden = error.status !== 401;
    playground.trouble(error.status === 401 && !apiKey() ? "This server wants an API key." : error.message ?? "The server can't be reached.");
    empty("The board comes with the server.");
    if (error.status === 401) return;
  }
  if (!source) watch(numDevices);
}

function watch(numDevices) {
  let toldS = 0;
  const live = new Live(
    (view) => {
      if (view.now_s < toldS) gallery.newServer();
      toldS = view.now_s;
      empty(live.model.requests.size ? null : "All GPUs are idle. Make an image and watch where it goes.");
    },
    (words) => words && empty(live.model.requests.size ? null : words),
    numDevices,
  );
  const hold = find("hold");
  hold.addEventListener("click", () => {
    live.hold(!live.isHeld);
    hold.textContent = live.isHeld ? "Go on" : "Hold";
  });
  show(live);
  live.start();
}
