"""Words as they come: a stream of text, as a language model gives it."""

import time
from collections.abc import Iterator


def run(text: str = "The quick brown fox jumps over the lazy dog.", pause: float = 0.1) -> Iterator[str]:
    """Says a text, word by word.

    Args:
        text: what to say
        pause: between two words, in seconds
    """
    for word in text.split():
        yield word + " "
        time.sleep(pause)
