import pytest

from tetriserve.core.errors import ConfigurationError, InvalidRequestError


@pytest.mark.parametrize("kind", [ConfigurationError, InvalidRequestError])
def test_an_error_about_input_is_one_line_with_beginning_and_limit(kind: type[Exception]) -> None:
    text = str(kind(f"port {'9' * 5000}\n\ud800:\tmust be at most 65535"))
    assert text.startswith("port 999")
    assert text.endswith("\\ud800: must be at most 65535")
    assert len(text) == 480
    assert str(kind("port 9: must be at least 10")) == "port 9: must be at least 10"
