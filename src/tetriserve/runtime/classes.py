"""Classes of service: what a request may expect that names no deadline, and what it weighs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tetriserve.core.errors import InvalidRequestError

MAX_FACTOR = 100.0


@dataclass(frozen=True, slots=True)
class ServiceClass:
    """`slo_factor` times the default SLO; `weight` is what its requests count where somebody must be left out."""

    slo_factor: float = 1.0
    weight: float = 1.0


DEFAULT_CLASS = "standard"

DEFAULT_CLASSES: Mapping[str, ServiceClass] = {
    "interactive": ServiceClass(0.8, 4.0),
    DEFAULT_CLASS: ServiceClass(1.0, 1.0),
    "batch": ServiceClass(10.0, 0.25),
}


def choose_class(classes: Mapping[str, ServiceClass], name: str | None) -> ServiceClass:
    """The class of that name, `standard` for None. Raises InvalidRequestError if there is no such class."""
    chosen = classes.get(DEFAULT_CLASS if name is None else name)
    if chosen is None:
        known = ", ".join(classes)
        raise InvalidRequestError(f"service_class {str(name)[:40]!r}: must be one of {known}", "service_class")
    return chosen


def read_classes(raw: Any) -> Mapping[str, ServiceClass]:
    """Read `interactive=0.8:4,batch=10:0.25`, SLO factor and weight, or a table of that; `standard` is always there.

    Raises ValueError.
    """
    pairs = dict(part.partition("=")[::2] for part in raw.split(",")) if isinstance(raw, str) else raw
    if not isinstance(pairs, dict) or not pairs:
        raise ValueError('must be classes like batch=10:0.25 or a table like { batch = "10:0.25" }')
    return {DEFAULT_CLASS: ServiceClass()} | {name.strip(): _class(name, text) for name, text in pairs.items()}


def write_classes(classes: Mapping[str, ServiceClass]) -> dict[str, str]:
    """As `read_classes` reads it."""
    return {name: f"{one.slo_factor:g}:{one.weight:g}" for name, one in classes.items()}


def _class(name: str, text: Any) -> ServiceClass:
    try:
        factor, weight = (float(number) for number in str(text).split(":"))
    except ValueError:
        raise ValueError(f"class {name!r} is {text!r}, must be FACTOR:WEIGHT") from None
    if not (name.strip() and 0 < factor <= MAX_FACTOR and 0 < weight <= MAX_FACTOR):
        raise ValueError(f"class {name!r} is {text!r}, needs a name, and numbers above 0 and at most {MAX_FACTOR:g}")
    return ServiceClass(factor, weight)
