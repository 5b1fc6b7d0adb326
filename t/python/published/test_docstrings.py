"""Docstrings in the styles that people write."""

import functools

import pytest
from owt.published.docstrings import Said, parse, read

GOOGLE = """Speaks a
    text.

    It does so slowly:

    - once
    - twice

    Args:
        text (str): what to say, in
            two lines
        n: how often
        *rest: the rest

    Returns:
        Iterator[tuple[int, str]]: the sound: loud

    Raises:
        ValueError: never

    Example:
        >>> speak("a")
    """

NUMPY = """Speaks a text.

    Parameters
    ----------
    text : str
        what to say, in
        two lines
    n, m : int, optional
        how often

    Returns
    -------
    bytes
        the sound

    Notes
    -----
    It is loud.
    """

SPHINX = """Speaks a text.

    :param text: what to say, in
        two lines
    :param int n: how often
    :type n: int
    :returns: the sound
    :rtype: bytes

    And more.
    """


def test_google() -> None:
    said = parse(GOOGLE)
    assert said.summary == "Speaks a text."
    assert said.text == 'It does so slowly:\n\n- once\n- twice\n\nExample:\n    >>> speak("a")'
    assert said.parameters == {"text": "what to say, in two lines", "n": "how often", "rest": "the rest"}
    assert said.returns == "the sound: loud"


def test_numpy() -> None:
    said = parse(NUMPY)
    assert said.parameters == {"text": "what to say, in two lines", "n": "how often", "m": "how often"}
    assert said.returns == "the sound"
    assert said.text == "Notes:\nIt is loud."


def test_sphinx() -> None:
    said = parse(SPHINX)
    assert said.parameters == {"text": "what to say, in two lines", "n": "how often"}
    assert said.returns == "the sound"
    assert said.text == "And more."


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
def test_nothing(text: str) -> None:
    assert parse(text) == Said()


def test_prose_that_looks_like_a_section() -> None:
    assert parse("Says it.\n\nReturns: nothing much").text == "Returns: nothing much"
    assert parse("Says it.\n\nArgs:").parameters == {}


def test_what_a_class_says_of_its_instances_is_no_function_s() -> None:
    assert read(functools.partial(print, "a")) == read(print)
    assert read(functools.partial(lambda text: text, "a")) == Said()
    assert read(Named()) == Said()


def test_of_an_instance_it_is_what_calling_it_does() -> None:
    assert read(Speaker()).summary == "Speaks a text."
    assert read(Speaker().again).summary == "Speaks it again."


class Named:
    """A thing with a name."""


class Speaker:
    """One who speaks."""

    def __call__(self, text: str) -> None:
        """Speaks a text."""

    def again(self) -> None:
        """Speaks it again."""
