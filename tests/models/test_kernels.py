"""The Triton kernels compute what the plain versions define: in Triton's interpreter on CPUs, compiled on GPUs."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton comes with builds of torch for GPUs")

CASES = Path(__file__).with_name("kernel_cases.py")


def test_kernels_agree_with_their_definitions() -> None:
    """In a process of its own: the interpreter is chosen when Triton is imported."""
    run = subprocess.run([sys.executable, CASES], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
