"""Where profiles are kept between runs: one file for each model, device and dtype, in the user's cache directory."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import platformdirs

from tetriserve.core.blocks import degrees
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.profile import Profile


class ProfileStore:
    """Finds the profile of a model on this machine. `directory` defaults to the user's cache directory."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or platformdirs.user_cache_path("tetriserve") / "profiles"

    def path(self, model_dir: Path, model: str, device: str, dtype: str) -> Path:
        """The file's place. Its name holds a digest of the network's configuration: another network, another file."""
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", f"{model}_{device}_{dtype}")[:100]
        return self.directory / f"{readable}_{_digest(model_dir)}.json"

    def find(self, path: Path, sizes: tuple[Size, ...], num_devices: int) -> Profile | None:
        """The stored profile, or None where there is none that covers these sizes and degrees."""
        try:
            profile = Profile.load(path)
        except ConfigurationError:
            return None
        known = {(entry.size, entry.degree, entry.batch) for entry in profile.entries if entry.origin == "measured"}
        wanted = {(size, degree, 1) for size in sizes for degree in degrees(num_devices)}
        return profile if wanted <= known else None

    def add(self, path: Path, measured: Profile, tell: Callable[[str], None]) -> None:
        """Keep what was measured, and beside it the other sizes of a stored profile; or say why that is replaced."""
        if path.exists():
            try:
                measured = Profile.load(path).merged(measured)
            except ConfigurationError as error:
                tell(f"The stored profile is replaced: {error}")
        self.save(path, measured)

    def save(self, path: Path, profile: Profile) -> None:
        """Write a profile whole or not at all."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            partial.write_text(profile.to_json(), encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot store the profile: {error}") from error


def _digest(model_dir: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(model_dir.glob("**/*.json")):
        if path.name in ("config.json", "model_index.json", "tetriserve.json"):
            digest.update(path.relative_to(model_dir).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:10]
