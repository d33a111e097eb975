"""Profiles that come with the package, so that simulations need no GPU: one JSON file each in `profiles/`."""

from pathlib import Path

from tetriserve.core.errors import ConfigurationError
from tetriserve.cost.profile import Profile

DIRECTORY = Path(__file__).parent.parent / "profiles"
DEFAULT_PROFILE = "flux1-dev.h100"


def packaged_profiles() -> tuple[str, ...]:
    """Names of the packaged profiles, in alphabetical order."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.json")))


def load_profile(name_or_path: str) -> Profile:
    """A packaged profile by name, else the file at that path. Raises ConfigurationError."""
    names = packaged_profiles()
    if name_or_path in names:
        return Profile.load(DIRECTORY / f"{name_or_path}.json")
    if not Path(name_or_path).exists():
        raise ConfigurationError(f"profile {name_or_path!r} is neither a file nor one of {', '.join(names)}")
    return Profile.load(Path(name_or_path))
