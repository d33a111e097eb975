"""Bytes that lead to new code, from atheris. Usage: python -m fuzz.guided TARGET CASES SEED OUT FOLDER"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tetriserve", "tomllib", "json", "csv"]):
    from fuzz.findings import Findings
    from fuzz.target import FindingError
    from fuzz.targets import TARGETS

MAX_BYTES = 8192
CASE_LIMIT_S = 20


def main(name: str, cases: str, number: str, out: str, empty: str) -> None:
    """Does not come back: libFuzzer ends the process, with something else than 0 after a case that hangs."""
    (target,) = (one for one in TARGETS if one.name == name)
    findings = Findings(Path(out))
    folder, corpus = Path(empty) / "files", Path(empty) / "corpus"
    folder.mkdir()
    corpus.mkdir()
    for index, document in enumerate(target.documents):
        (corpus / f"document{index}").write_bytes(target.write(document))

    def check(data: bytes) -> None:
        try:
            target.check(data, folder)
        except FindingError as error:
            findings.add(name, data, str(error))

    flags = (f"-runs={cases}", f"-seed={int(number) + 1}", f"-max_len={MAX_BYTES}", f"-timeout={CASE_LIMIT_S}")
    atheris.Setup([name, *flags, f"-artifact_prefix={out}/", str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
