import gzip
from pathlib import Path

import pytest

from tetriserve.core.errors import ConfigurationError
from tetriserve.evaluation.results import Results

DOCUMENT = gzip.compress(b"{}")
CONTENTS = {
    "empty": b"",
    "cut": DOCUMENT[:-9] + bytes(9),
    "list": gzip.compress(b"[]"),
    "object": DOCUMENT,
    "deep": gzip.compress(b"[" * 100_000),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_a_file_that_is_no_result_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cell.json.gz").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"cell\.json\.gz: not a result"):
        Results(tmp_path).status("cell")
