// Run in the page by bench_board.py.
async () => {
  const { Model } = await import("/page/model.js");
  const { Board } = await import("/page/board.js");
  const [devices, blockS, spanS] = [8, 0.12, 60];
  const chunks = [], requests = new Map();
  for (let slot = 0; slot * blockS < spanS; slot++) for (let device = 0; device < devices; device++) {
    const id = `r${Math.floor(slot / 8)}-${(device + slot) % devices}`;
    const [begin_s, end_s] = [slot * blockS, (slot + 1) * blockS];
    chunks.push({ chunk_id: chunks.length, stage: "denoise", request_ids: [id], devices: [device], first_steps: [0],
      num_steps: 3, state: "done", begin_s, end_s });
    const known = requests.get(id) ?? { request_id: id, size: "512x512", num_steps: 24, num_steps_done: 24,
      state: requests.size % 5 ? "met" : "late", arrival_s: begin_s, begin_s, deadline_s: begin_s + 1 };
    requests.set(id, { ...known, end_s });
  }
  const model = new Model();
  const began = performance.now();
  model.apply({ type: "snapshot", now_s: spanS, requests: [...requests.values()], chunks });
  const applyMs = performance.now() - began;
  const deltaMs = [];
  for (let turn = 0; turn < 20; turn++) {
    const at = performance.now();
    model.apply({ type: "delta", now_s: spanS, requests: [], chunks: chunks.slice(-16) });
    deltaMs.push(performance.now() - at);
  }
  const start = performance.now();
  const now = () => spanS + (performance.now() - start) / 1000;
  const source = { model, numDevices: devices, clock: "relative", now };
  const board = new Board(document.getElementById("board"), document.getElementById("tip"),
    document.getElementById("block-said"), () => {});
  board.show(source);
  const drawMs = [], gapsMs = [];
  const draw = board.draw.bind(board);
  board.draw = (layout) => { const at = performance.now(); draw(layout); drawMs.push(performance.now() - at); };
  let last = performance.now();
  await new Promise((done) => {
    const frame = (now) => {
      gapsMs.push(now - last);
      last = now;
      if (now - start < 4000) requestAnimationFrame(frame); else done();
    };
    requestAnimationFrame(frame);
  });
  const at = (values, share) => values.sort((a, b) => a - b)[Math.floor(share * (values.length - 1))];
  return { blocks: model.blocks.length, snapshot_ms: applyMs, delta_p50_ms: at(deltaMs, 0.5),
    draws: drawMs.length, draw_p50_ms: at(drawMs, 0.5), draw_p99_ms: at(drawMs, 0.99), frames: gapsMs.length, frame_p50_ms: at(gapsMs, 0.5), frame_p99_ms: at(gapsMs, 0.99) };
}
