"""Models named as on the hub, downloaded from a server on this machine; no connection to anywhere else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from models.hub_server import COMMIT, TOKEN, HubServer, hub_server
from parity.fixtures import GetCheckpoint
from tetriserve.core.errors import ConfigurationError
from tetriserve.models.card import read_card
from tetriserve.models.loading import load_model
from tetriserve.models.source import fetch_model
from tetriserve.models.weight_files import WEIGHTS_FILE

PROGRAM = """
import sys
from pathlib import Path
from tetriserve.core.errors import ConfigurationError
from tetriserve.models.source import fetch_model
for model in sys.argv[1:]:
    name, _, revision = model.partition("@")
    try:
        print(fetch_model(Path(name), revision or None))
    except ConfigurationError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def hub(checkpoint: GetCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A checkpoint with what published repositories have beside what is used."""
    directory = Path(shutil.copytree(checkpoint("none"), tmp_path_factory.mktemp("hub") / "model"))
    card = json.loads((directory / "tetriserve.json").read_text())
    del card["name"]
    (directory / "tetriserve.json").write_text(json.dumps(card))
    for unused in ("flux1.safetensors", "README.md", "vae/diffusion_pytorch_model.fp16.safetensors", "vae/old.bin"):
        (directory / unused).write_bytes(b"unused")
    with hub_server(directory) as server:
        yield server


def run(hub: HubServer, home: Path, command: Sequence[str], **given: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with a cache of its own: huggingface_hub reads its variables when it is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **given}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def fetch(hub: HubServer, home: Path, *models: str, **given: str) -> list[str]:
    """The directory of each model, named NAME or NAME@REVISION, or why there is none."""
    return run(hub, home, ["-c", PROGRAM, *models], **given).stdout.splitlines()


def test_a_gated_model_is_downloaded_with_a_token_and_then_found_without_a_connection(
    hub: HubServer, tmp_path: Path
) -> None:
    (found,) = fetch(hub, tmp_path, "tiny/gated", HF_TOKEN=TOKEN)
    assert f"transformer/{WEIGHTS_FILE}" in hub.given
    assert not {"flux1.safetensors", "README.md"} & set(hub.given)
    assert not [path for path in hub.given if ".fp16" in path or path.endswith(".bin")]
    assert read_card(Path(found)).name == "gated"
    load_model(Path(found), torch.device("cpu"), torch.float32, lambda text: None)
    offline = fetch(hub, tmp_path, "tiny/gated", f"tiny/gated@{COMMIT}", "tiny/model", HF_HUB_OFFLINE="1")
    assert offline[:2] == [found, found]
    assert "HF_HUB_OFFLINE is set" in offline[2]
    assert "hf download tiny/model" in offline[2]


def test_what_cant_be_had_is_a_line_that_says_what_to_do(hub: HubServer, tmp_path: Path) -> None:
    gated, missing, revision = fetch(hub, tmp_path, "tiny/gated", "tiny/missing", "tiny/model@v9")
    assert "'tiny/gated' is gated: accept its terms at http://" in gated
    assert "HF_TOKEN" in gated
    assert "'tiny/missing': no such directory here" in missing
    assert "'tiny/model' has no revision 'v9'" in revision


def test_the_command_line_passes_the_line_on(hub: HubServer, tmp_path: Path) -> None:
    shown = run(hub, tmp_path, ["-m", "tetriserve", "generate", "cat", "--model", "tiny/model", "--revision", "v9"])
    assert shown.returncode == 2
    assert shown.stderr.splitlines() == [
        f"tetriserve: model 'tiny/model' has no revision 'v9': see {hub.url}/tiny/model/commits"
    ]


def test_a_directory_has_no_revisions(checkpoint: GetCheckpoint) -> None:
    with pytest.raises(ConfigurationError, match="only the hub has revisions"):
        fetch_model(checkpoint("none"), "main")
