"""Arrivals from CSV files."""

from pathlib import Path
from typing import Any

import pytest

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.deadline import PAPER_SLO_S
from tetriserve.workload.csv_trace import CsvColumns, read_csv
from tetriserve.workload.generate import WorkloadConfig
from tetriserve.workload.trace import TraceEntry

GENAI = """gmt_create,predict_type,predict_status,num_inference_steps
2024-11-15 16:57:50,TXT_2_IMG,SUCCEED,30.0
2024-11-15 16:57:40,TXT_2_IMG,SUCCEED,20.0
2024-11-15 16:58:00,INPAINTING,SUCCEED,30.0
2024-11-15 16:58:10,TXT_2_IMG,SUCCEED,
"""
CONFIG = WorkloadConfig({Size(256, 256): 1.0}, num_requests=100)


def read(tmp_path: Path, text: str, columns: CsvColumns, config: WorkloadConfig = CONFIG, **more: Any) -> Any:
    path = tmp_path / "arrivals.csv"
    path.write_text(text, encoding="utf-8")
    return read_csv(path, columns, config, PAPER_SLO_S.__getitem__, **more)


def test_the_genai_trace_gives_times_and_steps(tmp_path: Path) -> None:
    columns = CsvColumns("gmt_create", steps="num_inference_steps", where={"predict_type": "TXT_2_IMG"})
    entries: tuple[TraceEntry, ...] = read(tmp_path, GENAI, columns)
    assert [entry.arrival_s for entry in entries] == [0.0, 10.0, 30.0]
    assert [entry.num_inference_steps for entry in entries] == [20, 30, 28]
    assert {entry.size for entry in entries} == {Size(256, 256)}


def test_time_is_stretched_to_the_wanted_rate(tmp_path: Path) -> None:
    entries = read(tmp_path, GENAI, CsvColumns("gmt_create"), rate_per_min=60.0)
    assert [entry.arrival_s for entry in entries] == pytest.approx([0.0, 1.0, 2.0, 3.0])


def test_sizes_and_prompts_have_columns(tmp_path: Path) -> None:
    text = "t,w,h,s,p\n2000,512,512,256x256,a cat\n500,1024,1024.0,512x512,\n"
    entries = read(tmp_path, text, CsvColumns("t", "ms", width="w", height="h", prompt="p"))
    assert [(entry.arrival_s, str(entry.size)) for entry in entries] == [(0.0, "1024x1024"), (1.5, "512x512")]
    assert entries[1].prompt == "a cat"
    assert entries[0].prompt
    assert str(read(tmp_path, text, CsvColumns("t", "ms", size="s"))[0].size) == "512x512"


@pytest.mark.parametrize(
    ("text", "columns", "complaint"),
    [
        ("t\nsoon\n", CsvColumns("t"), "line 2: t is 'soon', must be a number or an ISO date"),
        ("t\n1\nnan\n", CsvColumns("t"), "line 3: t is 'nan'"),
        ("t\n1\n", CsvColumns("time"), "no column 'time'; there are t"),
        ("t,n\n1,0\n", CsvColumns("t", steps="n"), "line 2: n is 0, must be 1 to 200"),
        ("t,n\n1,2.5\n", CsvColumns("t", steps="n"), "line 2: n is '2.5', must be a whole number"),
        ("t,w,h\n1,250,256\n", CsvColumns("t", width="w", height="h"), "line 2: size 250x256"),
        ("t\n", CsvColumns("t"), "no row is a request"),
        ("", CsvColumns("t"), "no column 't'"),
    ],
)
def test_a_fault_is_named_with_line_and_value(tmp_path: Path, text: str, columns: CsvColumns, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        read(tmp_path, text, columns)


def test_a_rate_needs_a_span_of_time(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="all requests arrive at once"):
        read(tmp_path, "t\n1\n1\n", CsvColumns("t"), rate_per_min=12.0)
    with pytest.raises(ConfigurationError, match="rate is -1"):
        read(tmp_path, "t\n1\n2\n", CsvColumns("t"), rate_per_min=-1.0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.csv: cannot read"):
        read_csv(tmp_path / "none.csv", CsvColumns("t"), CONFIG, PAPER_SLO_S.__getitem__)
