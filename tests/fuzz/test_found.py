"""What fuzzing has found: every input that was neither taken nor refused in words once."""

from pathlib import Path
from typing import Any

import pytest

from fuzz.targets import TARGETS
from tetriserve.core.errors import ConfigurationError

BY_NAME = {target.name: target for target in TARGETS}


def changed(name: str, **values: Any) -> bytes:
    """The target's document with other values."""
    target = BY_NAME[name]
    return target.write(target.documents[0] | values)


FOUND = (("model's scheduler/scheduler_config.json", {"num_train_timesteps": 2**31}),)


@pytest.mark.parametrize(("name", "values"), FOUND, ids=str)
def test_what_was_found_once_is_refused_in_words(name: str, values: dict[str, Any], tmp_path: Path) -> None:
    data = changed(name, **values)
    BY_NAME[name].check(data, tmp_path)
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        BY_NAME[name].read(data, tmp_path)
