"""One declaration: the same value, the same refusal, whether by flag, variable or file."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tetriserve.configuration.declared import declared
from tetriserve.configuration.resolve import resolve
from tetriserve.configuration.show import as_argument, as_toml
from tetriserve.configuration.tree import Configuration
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.setting import group, setting
from tetriserve.core.size import Size

EXAMPLES = {
    "admission": "reject",
    "max_queue": "10",
    "classes": "batch=5:0.5",
    "api_key_file": "keys",
    "cors_origins": "https://a.example,https://b.example",
    "result_mb": "2",
    "state_dir": "state",
    "job_store": "sqlite:///jobs.db",
    "max_jobs": "3",
    "job_mb": "5",
    "public_url": "https://images.example",
    "hang_factor": "12",
    "log_format": "json",
    "log_level": "warning",
    "otlp_endpoint": "http://localhost:4318",
    "host": "::1",
    "port": "9000",
    "model": "/models/flux",
    "devices": "cpu:1",
    "dtype": "float16",
    "encoders": "offload",
    "lora": "a.safetensors,b.safetensors=0.5",
    "prompt_cache_mib": "64",
    "sizes": "64x64,128x128",
    "profile": "p.json",
    "slo": "64x64=0.5",
    "policy": "tetriserve",
    "max_losses": "7",
    "default.num_ahead": "3",
    "tetriserve.step_granularity": "2",
}
"""By key, as text. What is missing is a number or a switch, whose example follows from its default."""


def example(key: str) -> str:
    (one,) = (one for one in declared(Configuration) if one.key == key)
    if isinstance(one.default, bool):
        return str(not one.default).lower()
    return EXAMPLES.get(key) or "0.25"


KEYS = [one.key for one in declared(Configuration)]


@pytest.mark.parametrize("key", KEYS)
def test_flag_variable_and_file_give_the_same(key: str, tmp_path: Path) -> None:
    (one,) = (one for one in declared(Configuration) if one.key == key)
    by_flag = resolve(Configuration(), {key: example(key)}, {})
    by_variable = resolve(Configuration(), {}, {one.variable: example(key)})
    path = tmp_path / "c.toml"
    path.write_text(as_toml(by_flag.found))
    by_file = resolve(Configuration(), {"config": path}, {})
    assert by_flag.configuration == by_variable.configuration == by_file.configuration != Configuration()
    origins = [
        [found.origin for found in made.found if found.setting == one] for made in (by_flag, by_variable, by_file)
    ]
    assert origins == [[one.flag], [one.variable], [str(path)]]


def test_no_two_settings_have_one_name() -> None:
    assert len(set(KEYS)) == len(KEYS)


def test_a_flag_wins_over_a_variable_and_that_over_the_file_and_that_over_the_default(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('port = 1\nhost = "file"\npolicy = "edf"\n[default]\nchunk_s = 1\n')
    environment = {"TETRISERVE_CONFIG": str(path), "TETRISERVE_PORT": "2", "TETRISERVE_HOST": "variable"}
    made = resolve(Configuration(), {"port": "3", "host": None}, environment)
    listen, serving = made.configuration.listen, made.configuration.serving
    assert (listen.port, listen.host, serving.policy) == (3, "variable", "edf")
    assert (serving.scheduler.default.chunk_s, serving.scheduler.default.window_s) == (1.0, 0.3)


def test_what_toml_has_types_for_is_written_with_them(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('sizes = ["64x64", "128x64"]\n[slo]\n"64x64" = 1\n[tetriserve]\nelastic = false\n')
    serving = resolve(Configuration(), {"config": str(path)}, {}).configuration.serving
    assert serving.sizes == (Size(64, 64), Size(128, 64))
    assert serving.slo_table == {Size(64, 64): 1.0}
    assert not serving.scheduler.tetriserve.elastic


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", ["'prot' is no setting", "did you mean 'port'?"]),
        ("[default]\nchunks = 1", ["'default.chunks'", "'default.chunk_s'"]),
        ("[nothing]\nx = 1", ["'nothing'"]),
        ("default = 1", ["'default' is no setting"]),
        ("[port]\nx = 1", ["port", "whole number"]),
        ("port = '8000.5'", ["c.toml: port '8000.5'", "whole number"]),
        ("port = true", ["port True", "whole number"]),
        ("port = 70000", ["c.toml", "port is 70000", "65535"]),
        ('host = ""', ["c.toml", "host is ''", "0.0.0.0"]),
        ("host = 1", ["host 1", "a string"]),
        ("dtype = 'int8'", ["dtype 'int8'", "float16"]),
        ("sizes = [64]", ["sizes [64]", "256x256"]),
        ("sizes = []", ["sizes []"]),
        ("sizes = '17x17'", ["sizes '17x17'", "multiples of 16"]),
        ("slo = 3", ["slo 3", "deadlines by size"]),
        ("[slo]\n'64x64' = 0", ["seconds are 0", "3600"]),
        ("[default]\nbatching = 'perhaps'", ["batching 'perhaps'", "true or false"]),
        ("[default]\nchunk_s = 'nan'", ["c.toml", "chunk_s is nan"]),
        ("[default]\nchunk_s = -1", ["c.toml", "chunk_s is -1", "at least 0"]),
        ("port =", ["c.toml", "cannot read"]),
    ],
)
def test_a_file_with_a_fault_is_refused_with_the_place(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        resolve(Configuration(), {"config": path}, {})
    assert all(word in str(caught.value) for word in [str(path), *words]), str(caught.value)


def test_the_same_fault_gets_the_same_words_everywhere() -> None:
    for flags, environment in (({"port": "x"}, {}), ({}, {"TETRISERVE_PORT": "x"})):
        with pytest.raises(ConfigurationError, match=r"(--port|TETRISERVE_PORT) 'x': must be a whole number"):
            resolve(Configuration(), flags, environment)


def test_variables_that_are_no_settings_are_told() -> None:
    environment = {"TETRISERVE_PROT": "1", "TETRISERVE_CONFIG": "", "TETRISERVE_PORT": "", "HOME": "/"}
    assert resolve(Configuration(), {}, environment).strange_variables == ("TETRISERVE_PROT",)


def test_the_default_is_written_as_it_is_read() -> None:
    for one in declared(Configuration):
        text = as_argument(one, one.default)
        if text is not None:
            assert resolve(Configuration(), {one.key: text}, {}).configuration == Configuration()


@dataclass(frozen=True)
class Inner:
    low: int = setting(1, "low")
    high: int = setting(2, "high")

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ConfigurationError(f"low is {self.low}, above high, {self.high}")


@dataclass(frozen=True)
class Outer:
    inner: Inner = group(Inner, "inner", table=True)
    names: tuple[str, ...] = setting(("a", "b"), "names")
    not_a_setting: int = 0


def test_values_that_only_fit_together_are_judged_together() -> None:
    made = resolve(Outer(), {"inner.low": "5", "inner.high": "6"}, {})
    assert made.configuration == Outer(Inner(5, 6))
    with pytest.raises(ConfigurationError, match=r"^--inner-low: low is 5, above high, 2"):
        resolve(Outer(), {"inner.low": "5"}, {})
    assert [one.key for one in declared(Outer)] == ["inner.low", "inner.high", "names"]


def test_lists_of_strings_have_commas_outside_of_toml(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    made = resolve(Outer(), {"names": "x, y"}, {})
    path.write_text(as_toml(made.found))
    assert made.configuration.names == resolve(Outer(), {"config": path}, {}).configuration.names == ("x", "y")
    with pytest.raises(ConfigurationError, match="must be strings"):
        path.write_text("names = [1]")
        resolve(Outer(), {"config": path}, {})


def test_the_home_of_nobody_is_told_with_its_setting() -> None:
    with pytest.raises(ConfigurationError, match="--state-dir '~nobody-at-all/x'"):
        resolve(Configuration(), {"state_dir": "~nobody-at-all/x"}, {})
