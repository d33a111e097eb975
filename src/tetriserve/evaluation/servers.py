"""How the servers of a study are started: one for every model and contender."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tetriserve.core.errors import EngineError
from tetriserve.cost.profile import Profile
from tetriserve.evaluation.program import Running, running
from tetriserve.evaluation.results import Results
from tetriserve.evaluation.study import EMBEDDED, Study, peer_of, variant_of
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR

MEASURE_S = 120.0
"""How much longer a start may take that also measures the profile."""
START_FACTOR = 3.0
"""A start that takes so many times as long as expected has failed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A server of a study: a policy of ours, or a peer."""

    model: str
    contender: str
    dtype: str = "auto"

    @property
    def profile_name(self) -> str:
        """What its step times are kept as."""
        return self.model if self.dtype == "auto" else f"{self.model}-{self.dtype}"

    @property
    def log_name(self) -> str:
        """For the file that it talks to."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.model}-{self.contender}-{self.dtype}").strip("-")


@contextlib.contextmanager
def serving(study: Study, wanted: Wanted, results: Results, limit_s: float) -> Iterator[Running]:
    """The server, ready. One of ours with no profile yet measures it, and it is kept. Raises EngineError."""
    log = results.logs / f"{wanted.log_name[-100:]}.log"
    patience_s = START_FACTOR * study.start_s
    if peer_of(wanted.contender) is not None:
        with running("tetriserve.peers", _peer_options(study, wanted), log, min(limit_s, patience_s)) as server:
            yield server
        return
    if results.profile(wanted.profile_name) is None:
        patience_s += MEASURE_S
    options = _serve_options(study, wanted, results)
    with TemporaryDirectory() as cache:
        environment = {"XDG_CACHE_HOME": cache}
        with running("tetriserve", options, log, min(limit_s, patience_s), environment) as server:
            _keep_profile(wanted, results, Path(cache))
            yield server


def _peer_options(study: Study, wanted: Wanted) -> list[str]:
    peer = peer_of(wanted.contender)
    assert peer is not None
    engine, degree = peer
    options = ["--engine", engine, "--degree", str(degree), "--model", _directory(wanted.model)]
    return [*options, "--devices", study.devices, "--dtype", wanted.dtype]


def _serve_options(study: Study, wanted: Wanted, results: Results) -> list[str]:
    sizes = ",".join(str(size) for size in study.sizes)
    variant = variant_of(wanted.contender)
    options = ["serve", "--policy", variant.policy, *variant.options, "--devices", study.devices, "--sizes", sizes]
    options += ["--dtype", wanted.dtype, "--job-store", "memory"]
    options += ["--prompt-cache-mib", "0"]  # a study's prompts come from a short list, and each is to cost its encoding
    if wanted.model != EMBEDDED:
        options += ["--model", wanted.model]
    if results.profile(wanted.profile_name) is not None:
        options += ["--profile", str(results.profile_path(wanted.profile_name).resolve())]
    return options


def _keep_profile(wanted: Wanted, results: Results, cache: Path) -> None:
    """Raises EngineError if the server has neither been given one nor measured one."""
    if results.profile(wanted.profile_name) is not None:
        return
    found = list((cache / "tetriserve" / "profiles").glob("*.json"))
    if len(found) != 1:
        raise EngineError(f"the server has stored {len(found)} profiles, expected one")
    results.keep_profile(wanted.profile_name, Profile.load(found[0]))


def _directory(name: str) -> str:
    """For peers, which know no model by default."""
    return str(EMBEDDED_MODEL_DIR) if name == EMBEDDED else name
