"""Text to speech by Bark, sentence by sentence: a WAV that can be played while it grows.

Who accepts text/event-stream gets an event for each sentence instead, with its text and its sound.
"""

from owt.lib import audio, bark, encoding, stream, tts

bark.load()  # by the first call; the next ones find the weights in memory

KINDS = ["audio/wav", "text/event-stream"]


def run(request, text, speaker="v2/en_speaker_6"):
    try:
        bark.check_speaker(speaker)
    except ValueError as error:
        return f"{error}.\n", 400, {"Content-Type": "text/plain; charset=utf-8"}
    if request.accept_mimetypes.best_match(KINDS) == "text/event-stream":
        body, headers = stream.response(events, text, speaker)
    else:
        body, headers = audio.response(spoken(text, speaker), bark.SAMPLE_RATE)
    return body, {**headers, "Vary": "Accept"}


def spoken(text, speaker):
    """The samples of each sentence, made when they are asked for."""
    return tts.over_sentences(text, lambda sentences: bark.speak(sentences[0], speaker), longest=bark.LONGEST)


def events(text, speaker):
    sentences = tts.sentences(text, bark.LONGEST)
    for number, samples in enumerate(spoken(text, speaker)):
        wav = encoding.base64_wav(samples, bark.SAMPLE_RATE)
        yield stream.event(number=number + 1, of=len(sentences), text=sentences[number], wav=wav)
