import pytest

from tetriserve.core.errors import MAX_CHARS, ConfigurationError, InvalidRequestError


@pytest.mark.parametrize("kind", [ConfigurationError, InvalidRequestError])
def test_an_error_about_input_is_one_line_with_beginning_and_limit(kind: type[Exception]) -> None:
    text = str(kind(f"port {'9' * 5000}\n\ud800:\tmust be at most 65535"))
    assert text.startswith("port 999")
    assert text.endswith("\\ud800: must be at most 65535")
    assert len(text) == MAX_CHARS
    assert str(kind("port 9: must be at least 10")) == "port 9: must be at least 10"


def test_what_is_quoted_can_not_tell_the_terminal_what_to_do() -> None:
    assert str(ConfigurationError("model 'a\x1b[2J\u202eb\x00': no such")) == r"model 'a\x1b[2J\u202eb\x00': no such"
    assert str(ConfigurationError("model 'é, 木': no such")) == "model 'é, 木': no such"
