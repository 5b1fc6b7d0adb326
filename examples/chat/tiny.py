"""Makes a very small model for chat.py, in a minute and without the network: python3 tiny.py DIR

A GPT-2 of some 100,000 weights, whose tokens are bytes. It learns a few answers by heart, and knows nothing else.
"""

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

ANSWERS = {
    "Hello!": "Hello! I am a very small model, and I was made on this machine.",
    "What can you do?": "I know these answers by heart, and nothing else.",
    "Who are you?": "A GPT-2 of two layers. My tokens are bytes: ä, ☃ and all.",
    "Thank you.": "You are welcome.",
}
END = "<|end|>"
TEMPLATE = "{% for message in messages %}{{ message.role[0] }}:{{ message.content }}\n{% endfor %}a:"
LEARNED = 0.02  # the loss with which it is content,
STEPS = 3000  # and with which it gives up


def main(directory: str) -> None:
    torch.manual_seed(0)
    tokenizer = bytes_as_tokens()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=256,
        n_embd=64,
        n_layer=2,
        n_head=4,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = GPT2LMHeadModel(config)
    dialogues = {f"u:{text}\na:": f"{answer}{END}" for text, answer in ANSWERS.items()}
    learn(model, [(tokenizer(text).input_ids, tokenizer(answer).input_ids) for text, answer in dialogues.items()])
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def bytes_as_tokens() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def learn(model: GPT2LMHeadModel, dialogues: list[tuple[list[int], list[int]]]) -> None:
    """The answers by their questions."""
    longest = max(len(question) + len(answer) for question, answer in dialogues)

    def padded(tokens: list[int], padding: int) -> list[int]:
        return tokens + [padding] * (longest - len(tokens))

    tokens = torch.tensor([padded(question + answer, 0) for question, answer in dialogues])
    # -100 is not to be learned.
    wanted = torch.tensor([padded([-100] * len(question) + answer, -100) for question, answer in dialogues])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        loss = model(input_ids=tokens, labels=wanted).loss
        if loss < LEARNED:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise RuntimeError(f"it has not learned its answers in {STEPS} steps; the loss is {loss:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
