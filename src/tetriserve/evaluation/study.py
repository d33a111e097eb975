"""What is to be run, declared: a study is a value, and everything that depends on hardware follows from a profile."""

from dataclasses import dataclass
from itertools import product

from tetriserve.core.size import Size
from tetriserve.evaluation.deadlines import Rule
from tetriserve.scheduler.config import DefaultConfig, SchedulerConfig

PAPER_SIZES = (Size(256, 256), Size(512, 512), Size(1024, 1024), Size(2048, 2048))
EMBEDDED = "embedded"
"""Names the packaged model."""


@dataclass(frozen=True, slots=True)
class Run:
    """Every contender under every mix and load. A load is a share of capacity (`60%`) or a rate (`12/min`).

    Contenders are policies of this server, one of `VARIANTS`, or peers named `ENGINE-spDEGREE`.
    """

    model: str
    contenders: tuple[str, ...]
    loads: tuple[str, ...]
    mixes: tuple[str, ...] = ("uniform", "skewed")


@dataclass(frozen=True, slots=True)
class Equality:
    """Images served while degrees change, against diffusers alone. They are made in parts of `part` images."""

    model: str
    sizes: tuple[Size, ...]
    num_images: int = 200
    num_steps: int = 20
    part: int = 50
    dtypes: tuple[str, ...] = ("bfloat16", "float32")
    load: str = "90%"
    policy: str = "default"


@dataclass(frozen=True, slots=True)
class Study:
    """`scales` multiply the deadlines that `deadlines` gives. `start_s`: how long a server is expected to start."""

    name: str
    devices: str
    sizes: tuple[Size, ...]
    num_steps: int
    deadlines: Rule
    scales: tuple[float, ...]
    runs: tuple[Run, ...]
    num_requests: int = 60
    seed: int = 1
    start_s: float = 90.0
    equality: Equality | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One load on one server. `scale` is None where the contender doesn't look at deadlines: all scales in one run."""

    model: str
    contender: str
    mix: str
    load: str
    scale: float | None

    @property
    def id(self) -> str:
        """Its name in files and patterns: model/contender/mix/load/scale."""
        model = self.model.removeprefix("random:").rstrip("/").rpartition("/")[2]
        scale = "any" if self.scale is None else f"x{self.scale:g}"
        load = self.load.replace("%", "pct").replace("/", "-per-")
        return "/".join((model, self.contender, self.mix, load, scale))

    @property
    def is_peer(self) -> bool:
        """Whether another's engine serves it."""
        return peer_of(self.contender) is not None


def peer_of(contender: str) -> tuple[str, int] | None:
    """Engine and degree of a peer; None for a policy of our own."""
    engine, separator, degree = contender.rpartition("-sp")
    return (engine, int(degree)) if separator and engine != "fixed" and degree.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Variant:
    """A policy with other settings than it has by itself: as options of `tetriserve serve`, and for a simulation."""

    policy: str
    options: tuple[str, ...]
    scheduler: SchedulerConfig


VARIANTS = {
    "default-whole-steps": Variant(
        "default", ("--default-part-s", "0"), SchedulerConfig(default=DefaultConfig(part_s=0.0))
    ),
}


def variant_of(contender: str) -> Variant:
    """What a contender of ours is."""
    return VARIANTS.get(contender) or Variant(contender, (), SchedulerConfig())


def looks_at_deadlines(contender: str) -> bool:
    """Whether other deadlines would make another schedule."""
    return contender != "rssp" and not contender.startswith("fixed-") and peer_of(contender) is None


def cells_of(study: Study) -> tuple[Cell, ...]:
    """All cells; those of one server follow one another."""
    return tuple(
        Cell(run.model, contender, mix, load, scale)
        for run in study.runs
        for contender, mix, load in product(run.contenders, run.mixes, run.loads)
        for scale in (study.scales if looks_at_deadlines(contender) else (None,))
    )


POLICIES = ("default", "tetriserve", "rssp", "fixed-sp2", "fixed-sp1")
WIDE_POLICIES = ("default", "tetriserve", "rssp", "fixed-sp8", "fixed-sp4", "fixed-sp2", "fixed-sp1")
XDIT = ("xdit-sp1", "xdit-sp2", "xdit-compiled-sp1", "xdit-compiled-sp2")
SMALL = (Size(128, 128), Size(256, 256))

STUDIES = (
    Study(
        name="one-gpu",
        devices="cuda:1",
        sizes=PAPER_SIZES,
        num_steps=10,
        deadlines="like the paper's",
        scales=(1.0, 1.5),
        runs=(
            Run("random:flux1-dev", ("default", "default-whole-steps", "tetriserve", "fixed-sp1"), ("90%",)),
            Run("random:flux1-dev", ("xdit-sp1", "xdit-compiled-sp1"), ("90%",)),
        ),
    ),
    Study(
        name="two-gpus",
        devices="cuda:2",
        sizes=PAPER_SIZES,
        num_steps=10,
        deadlines="like the paper's",
        scales=(1.0, 1.2, 1.5),
        runs=(
            Run("random:flux1-dev", POLICIES, ("90%", "60%")),
            Run("random:flux1-dev", ("default-whole-steps",), ("90%",), ("uniform",)),
            Run("random:flux1-dev", XDIT, ("90%",)),
            Run("random:sd3-medium", POLICIES, ("90%",)),
        ),
        equality=Equality(EMBEDDED, (Size(128, 128), Size(256, 256), Size(512, 512))),
    ),
    Study(
        name="eight-gpus",
        devices="cuda:8",
        sizes=PAPER_SIZES,
        num_steps=28,
        deadlines="the paper's",
        scales=(1.0, 1.1, 1.2, 1.5),
        runs=(Run("random:flux1-dev", WIDE_POLICIES, ("12/min",)),),
        start_s=150.0,
    ),
    Study(
        name="rehearsal-cpu2",
        devices="cpu:2",
        sizes=SMALL,
        num_steps=4,
        deadlines="twice the fastest",
        scales=(1.0, 1.5),
        runs=(Run(EMBEDDED, POLICIES, ("90%", "60%")), Run(EMBEDDED, ("diffusers-sp1",), ("90%",))),
        num_requests=12,
        start_s=30.0,
        equality=Equality(EMBEDDED, SMALL, num_images=6, num_steps=4, part=3),
    ),
    Study(
        name="rehearsal-cpu8",
        devices="cpu:8",
        sizes=SMALL,
        num_steps=4,
        deadlines="twice the fastest",
        scales=(1.0, 1.5),
        runs=(Run(EMBEDDED, WIDE_POLICIES, ("60%",), ("skewed",)),),
        num_requests=12,
        start_s=90.0,
    ),
)


def study_named(name: str) -> Study:
    """Raises KeyError."""
    return {study.name: study for study in STUDIES}[name]
