"""Prime numbers as they are found: a stream of JSON."""

from collections.abc import Iterator
from typing import Annotated, TypedDict

from msgspec import Meta


class Prime(TypedDict):
    number: int
    prime: int


def run(
    count: Annotated[int, Meta(ge=1, le=1000, description="so many of them")] = 10,
    start: Annotated[int, Meta(ge=2, description="none is smaller")] = 2,
) -> Iterator[Prime]:
    """Finds prime numbers.

    Returns:
        A prime on each line, as soon as it is found.
    """
    number, candidate = 0, start
    while number < count:
        if all(candidate % divisor for divisor in range(2, int(candidate**0.5) + 1)):
            number += 1
            yield {"number": number, "prime": candidate}
        candidate += 1
