"""A server under load makes batches by itself, and the images stay what they are alone."""

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from server.conftest import RunningServer, run_server
from server.test_generations import differ, image_of
from tetriserve.core.chunk import Stage
from tetriserve.cost.profile import Profile, StageTime, StepTime
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR

NUM_IMAGES = 12
"""More than a decision looks at, so that batches are thought of."""

NUM_ALONE = 4

STEP_S = {1: 0.10, 2: 0.12, 4: 0.15}


def batching_profile(path: Path) -> Path:
    """A machine on which four small images together take half as long again as one."""
    entries = [StepTime(128, 128, 1, batch, step_s) for batch, step_s in STEP_S.items()]
    stages = [StageTime(stage, 128, 128, 1, 0.02) for stage in (Stage.ENCODE, Stage.DECODE)]
    made_up = ("embedded", "none", 1, "float32", 64, "made up", "none", "never")
    path.write_text(Profile(*made_up, tuple(entries), tuple(stages), 0.0).to_json())
    return path


def post(server: RunningServer, seed: int) -> httpx.Response:
    return server.post(prompt="a red apple", size="128x128", num_inference_steps=3, seed=seed, slo_ms=60_000)


@pytest.fixture(scope="module")
def batching_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """With the model we ship."""
    directory = tmp_path_factory.mktemp("batching")
    options = ("--devices", "cpu:1", "--sizes", "128x128", "--profile", str(batching_profile(directory / "p.json")))
    with run_server(EMBEDDED_MODEL_DIR, directory, *options, verbose=True) as server:
        yield server


def test_images_made_together_over_http_are_those_made_alone(batching_server: RunningServer) -> None:
    with ThreadPoolExecutor(NUM_IMAGES) as pool:
        together = list(pool.map(lambda seed: post(batching_server, seed), range(NUM_IMAGES)))
    alone = [post(batching_server, seed) for seed in range(NUM_ALONE)]
    assert all(response.status_code == 200 for response in (*together, *alone))
    batches = re.findall(r"DENOISE.*?request_ids=\(([^)]*)\)", "".join(batching_server.said))
    members = [len(re.findall(r"'", ids)) // 2 for ids in batches]
    assert max(members) >= 2, "under load, steps were shared"
    assert not any(differ(image_of(one), image_of(other)) for one, other in zip(together, alone, strict=False))
    assert differ(image_of(together[0]), image_of(together[1])), "seeds differ"


def test_sigterm_ends_an_idle_server(batching_server: RunningServer) -> None:
    """The last test of this server."""
    assert len(batching_server.processes()) >= 2
    batching_server.process.send_signal(signal.SIGTERM)
    batching_server.assert_ends_well()
