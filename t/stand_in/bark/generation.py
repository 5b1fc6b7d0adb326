"""The part that loads models and turns text into tokens, which here are the text's characters."""

import os
import re
import threading
import time
from pathlib import Path

import numpy as np

SAMPLE_RATE = 24_000

LANGUAGES = ("en", "de", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh")
ALLOWED_PROMPTS = {"announcer"} | {
    f"{version}{language}_speaker_{number}" for version in ("", "v2/") for language in LANGUAGES for number in range(10)
}

directory = Path(os.environ["BARK_STAND_IN"])

_models: dict[str, str] = {}
_user = threading.Lock()


def note(*words: str) -> None:
    """A line in the journal."""
    with (directory / "journal").open("a") as journal:
        journal.write(" ".join(words) + "\n")


def pause(name: str) -> None:
    """Until the gate of this name is open."""
    (directory / f"{name}.reached").touch()
    deadline = time.monotonic() + 120
    while not (directory / name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(name)
        time.sleep(0.002)


def preload_models(
    text_use_gpu=True,
    text_use_small=False,
    coarse_use_gpu=True,
    coarse_use_small=False,
    fine_use_gpu=True,
    fine_use_small=False,
    codec_use_gpu=True,
    force_reload=False,
):
    note("load")
    if (directory / "no-weights").exists():
        raise OSError("the weights cannot be had")
    _models["text"] = "loaded"


def generate_text_semantic(
    text,
    history_prompt=None,
    temp=0.7,
    top_k=None,
    top_p=None,
    silent=False,
    min_eos_p=0.2,
    max_gen_duration_s=None,
    allow_early_stop=True,
    use_kv_caching=False,
):
    assert _models, "speaks without its models"
    assert text.strip()
    assert history_prompt is None or history_prompt in ALLOWED_PROMPTS
    assert _user.acquire(blocking=False), "two at once, where there may be one"
    try:
        note("begin", text)
        for name in re.findall(r"\bgate (\w+)", text):
            pause(name)
        if "fail now" in text:
            raise RuntimeError("the model failed")
        note("end", text)
        return np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.int64)
    except BaseException as error:
        note(type(error).__name__, text)
        raise
    finally:
        _user.release()
