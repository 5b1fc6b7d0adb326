"""A stand-in for transformers whose model says again what it hears, for the tests of examples/chat.

Of the words of the last message "gate" waits until the file of that name is in $CHAT_STAND_IN, "fails" raises, "ever" goes on
until it is to stop. Each call is a line of $CHAT_STAND_IN/journal: what it got, then how it ended.
"""

import json
import os
import time
from pathlib import Path
from queue import Queue

from torch import Tokens

HERE = Path(os.environ["CHAT_STAND_IN"])


def note(**fields):
    with (HERE / "journal").open("a") as journal:
        journal.write(json.dumps(fields) + "\n")


class Encoding:
    def __init__(self, text):
        self.input_ids = Tokens(text.split(" "))


class AutoTokenizer:
    eos_token_id = 7
    pad_token_id = None

    def __init__(self, name):
        self.chat_template = "some" if "template" in name else None

    @classmethod
    def from_pretrained(cls, name):
        return cls(name)

    def __call__(self, text, *, return_tensors, add_special_tokens):
        assert (return_tensors, add_special_tokens) == ("pt", False)
        return Encoding(text)

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt):
        assert (tokenize, add_generation_prompt) == (False, True)
        return " ".join([*(f"<{message['role']}> {message['content']}" for message in messages), "<says>"])


class TextIteratorStreamer:
    """As that of transformers: without a timeout its iterator waits for ever."""

    def __init__(self, tokenizer, *, skip_prompt, skip_special_tokens):
        assert skip_prompt and skip_special_tokens
        self.text_queue, self.stop_signal, self.timeout = Queue(), None, None

    def put(self, text):
        self.text_queue.put(text, timeout=self.timeout)

    def end(self):
        self.text_queue.put(self.stop_signal, timeout=self.timeout)

    def __iter__(self):
        return self

    def __next__(self):
        value = self.text_queue.get(timeout=self.timeout)
        if value is self.stop_signal:
            raise StopIteration
        return value


class StoppingCriteria:
    pass


class StoppingCriteriaList(list):
    def __call__(self, tokens, scores):
        return any(any(criterion(tokens, scores)) for criterion in self)


class AutoModelForCausalLM:
    class config:
        max_position_embeddings = 40

    @classmethod
    def from_pretrained(cls, name):
        return cls()

    def to(self, device):
        assert device == "cpu"
        return self

    def eval(self):
        return self

    def generate(self, tokens, *, attention_mask, streamer, stopping_criteria, max_new_tokens, **options):
        assert len(attention_mask) == len(tokens.words)
        note(heard=tokens.words, most=max_new_tokens, **options)
        ended = "stopped"
        # What was said before means nothing.
        now = max(at for at, word in enumerate(tokens.words) if word == "<user>" or word.endswith("user:") or not at)
        at = 0
        while not stopping_criteria(tokens, None):
            if at == len(tokens.words):
                ended = "ended"
                break
            word = tokens.words[at]
            if at > now:
                self.mind(word)
            streamer.put(f"{word} ")
            streamer.put("")
            at += not (at > now and word.startswith("ever"))
        streamer.end()
        note(ended=ended)

    def mind(self, word):
        if word.startswith("fails"):
            raise RuntimeError("no room for another word")
        if word.startswith("ever"):
            time.sleep(0.01)  # as a model takes its time
        if word == "gate":
            (HERE / "gate.reached").touch()
            while not (HERE / "gate").exists():
                time.sleep(0.002)
