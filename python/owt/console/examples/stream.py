"""Each yield is shown at once, and so are progress and what is printed."""

import time

import owt


def run(request, text: str = "Words come one by one, as they are made.", pause: float = 0.15):
    words = text.split()
    for number, word in enumerate(words, 1):
        print(f"word {number} is {len(word)} letters long")
        owt.progress(number, len(words), word)
        yield word + " "
        time.sleep(pause)
