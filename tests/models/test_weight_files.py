import json
from pathlib import Path

import pytest

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.components import read_components
from tetriserve.models.weight_files import shards, stored_shapes


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {"a": "../b"}}])
def test_an_index_names_files_beside_it(tmp_path: Path, index: object) -> None:
    (tmp_path / "w.index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigurationError, match=r"w\.index\.json"):
        shards(tmp_path, "w")


@pytest.mark.parametrize("shape", [["a"], [-1], [0.5], 4, [10**30]])
def test_a_shape_of_anything_but_whole_numbers_is_refused(tmp_path: Path, shape: object) -> None:
    header = json.dumps({"x": {"shape": shape}}).encode()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ConfigurationError, match="is no safetensors file"):
        stored_shapes(tmp_path / "w")


@pytest.mark.parametrize("entry", [[], ["diffusers"], ["diffusers", 5], ["a", "b", "c"]])
def test_an_index_of_a_pipeline_names_library_and_class(tmp_path: Path, entry: object) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"vae": entry}))
    with pytest.raises(ConfigurationError, match=r"vae is .* must be a library and a class of it"):
        read_components(tmp_path)
