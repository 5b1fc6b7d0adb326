"""A chat with a language model of transformers: what it says, as server-sent events while it says it."""

import os
import threading
from typing import Literal, TypedDict

import torch
from owt.lib import stream
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)

# The first call loads it, the next ones find it warm. A name on the Hugging Face hub, or a directory.
NAME = os.environ.get("CHAT_MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = AutoTokenizer.from_pretrained(NAME)
model = AutoModelForCausalLM.from_pretrained(NAME).to(DEVICE).eval()
ROOM = getattr(model.config, "max_position_embeddings", 2048)  # tokens that it can keep in mind


class Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: str


def run(request, text: str, history: list[Message] = (), temperature: float = 0.7, most: int = 256):
    """Answers text, with what has been said before in mind, in at most so many tokens; coldly, always the same."""
    if not 0 <= temperature <= 10 or most < 1:
        return "temperature is from 0 to 10, most is 1 or more tokens.\n", 400, {"Content-Type": "text/plain"}
    messages = [*history, {"role": "user", "content": text}]
    return stream.response(words, request, messages, temperature, min(most, ROOM // 2))


def words(request, messages: list[Message], temperature: float, most: int):
    tokens = tokenizer(prompt(messages), return_tensors="pt", add_special_tokens=False).input_ids
    tokens = tokens[:, -(ROOM - most) :].to(DEVICE)  # the beginning of a long chat is forgotten
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    left = Left(request)
    options = {
        "attention_mask": torch.ones_like(tokens),
        "streamer": streamer,
        "stopping_criteria": StoppingCriteriaList([left]),
        "max_new_tokens": most,
        "pad_token_id": tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        "do_sample": temperature > 0,
        **({"temperature": temperature} if temperature > 0 else {}),
    }
    # Should it fail, so does this call, which else would wait for its words for ever.
    thread = threading.Thread(target=model.generate, args=[tokens], kwargs=options)
    thread.start()
    try:
        for text in streamer:
            if text:
                yield stream.event(text=text)
    finally:
        left.now = True
        thread.join()


def prompt(messages: list[Message]) -> str:
    if tokenizer.chat_template:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return "".join(f"{message['role']}: {message['content']}\n" for message in messages) + "assistant:"


class Left(StoppingCriteria):
    """Ends the answer before its next token when nobody waits for it any more."""

    def __init__(self, request) -> None:
        self.request = request
        self.now = False

    def __call__(self, tokens, scores, **_):
        gone = self.now or self.request.cancelled
        return torch.full((tokens.shape[0],), gone, dtype=torch.bool, device=tokens.device)
