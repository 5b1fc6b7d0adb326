"""How often each letter stands in a text: a table."""

from collections import Counter
from dataclasses import dataclass


@dataclass
class Letter:
    letter: str
    count: int
    share: float


def run(text: str, most: int = 10) -> list[Letter]:
    """Counts the letters of a text.

    Case does not matter, and what is no letter is left out.

    Args:
        text: what is counted
        most: so many letters at most, the most frequent ones first

    Returns:
        The letters with their share of all.
    """
    counted = Counter(filter(str.isalpha, text.lower()))
    total = counted.total()
    return [Letter(letter, count, round(count / total, 4)) for letter, count in counted.most_common(most)]
