"""What is shipped for operators starts what there is: options, settings, ports and paths exist."""

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tetriserve.cli import build_parser
from tetriserve.configuration.resolve import resolve
from tetriserve.configuration.tree import Configuration
from tetriserve.server.listen import ANSWER_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())  # type: ignore[no-any-return]


def defaults() -> Configuration:
    return resolve(Configuration(), {}, {}).configuration


def test_the_example_configuration_is_one() -> None:
    made = resolve(Configuration(), {"config": DEPLOY / "serve.toml"}, {}).configuration
    assert made == defaults(), "what it shows are the defaults"


def test_the_image_runs_a_command_there_is_and_copies_what_there_is() -> None:
    said = instructions()
    entry, command = (json.loads(rest) for name, rest in said if name in {"ENTRYPOINT", "CMD"})
    assert entry == ["tetriserve"]
    assert build_parser().parse_args(command).command == "serve"
    for name, rest in said:
        if name == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / source).exists() for source in rest.split()[:-1]), rest
    (port,) = (int(rest) for name, rest in said if name == "EXPOSE")
    assert port == defaults().listen.port
    variables = dict(one.split("=", 1) for name, rest in said if name == "ENV" for one in rest.split())
    assert resolve(Configuration(), {}, variables).strange_variables == ()
    assert [rest for name, rest in said if name == "USER"] == ["tetriserve"], "not root"


def test_jobs_outlive_the_container_and_the_service() -> None:
    (volumes,) = (json.loads(rest) for name, rest in instructions() if name == "VOLUME")
    mounts = [mount.split(":")[1] for mount in compose()["services"]["tetriserve"]["volumes"]]
    state = "/home/tetriserve/.local/state/tetriserve"  # where platformdirs puts it for the image's user
    assert state in volumes
    assert state in mounts
    unit = (DEPLOY / "tetriserve.service").read_text()
    assert "StateDirectory=tetriserve\n" in unit
    assert "XDG_STATE_HOME=/var/lib " in unit
    seconds = int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0])
    assert seconds > defaults().server.grace_s + ANSWER_S


def test_the_image_has_the_torch_that_setup_installs() -> None:
    (torch,) = (rest for name, rest in instructions() if name == "ARG" and rest.startswith("TORCH="))
    assert f"'{torch.removeprefix('TORCH=')}'" in (ROOT / "scripts" / "setup").read_text()


def test_compose_starts_what_there_is() -> None:
    services = compose()["services"]
    command = services["tetriserve"]["command"]
    assert build_parser().parse_args(command).command == "serve"
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "nothing is open to others"
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).exists(), mount
    named = {mount.split(":")[0] for one in services.values() for mount in one["volumes"] if mount[0].isalpha()}
    assert named == set(compose()["volumes"])
    build = services["tetriserve"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_prometheus_asks_the_server_and_grafana_asks_prometheus() -> None:
    services = compose()["services"]
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == f"tetriserve:{defaults().listen.port}"
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert {"tetriserve", "prometheus"} <= services.keys()


def test_the_unit_runs_a_command_there_is() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "tetriserve.service")
    program, *arguments = unit["Service"]["ExecStart"].split()
    assert Path(program).name == "tetriserve"
    assert build_parser().parse_args(arguments).command == "serve"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "tetriserve"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "tetriserve.service"
    unit.write_text((DEPLOY / "tetriserve.service").read_text().replace("/opt/tetriserve/bin/tetriserve", str(program)))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "tetriserve.service" not in found.stderr, found.stderr
    assert found.returncode == 0, found.stderr
