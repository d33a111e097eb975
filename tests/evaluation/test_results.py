import gzip
from pathlib import Path

import pytest

from tetriserve.core.errors import ConfigurationError
from tetriserve.evaluation.results import Results


@pytest.mark.parametrize(
    "content", [b"", gzip.compress(b"{}")[:-9] + bytes(9), *map(gzip.compress, (b"[]", b"{}", b"[" * 100_000))]
)
def test_a_file_that_is_no_result_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cell.json.gz").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"cell\.json\.gz: not a result"):
        Results(tmp_path).status("cell")
