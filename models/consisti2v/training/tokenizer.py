"""A small byte-level BPE vocabulary in the file layout of CLIP's tokenizer.

The base alphabet is CLIP's: 256 byte signs, alone and at the end of a word, so that any text can be
encoded. The merges are learnt from captions of scenes, from object and action class names and from
everyday words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

from i2vbench.models.consisti2v.training.data import caption_of

START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT_LENGTH = 48
"""Tokens per text, start and end included."""
_WORD_SUFFIX = "</w>"
_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def build_tokenizer(folder: Path, num_merges: int = 1500, num_captions: int = 4000) -> None:
    """Learns the merges and writes the four files of a CLIPTokenizer into `folder`."""
    tokenizer = Tokenizer(BPE(end_of_word_suffix=_WORD_SUFFIX))
    tokenizer.pre_tokenizer = Sequence(
        [Split(Regex(_PATTERN), behavior="removed", invert=True), ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=2 * len(alphabet) + num_merges,
        initial_alphabet=alphabet,
        end_of_word_suffix=_WORD_SUFFIX,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(num_captions), trainer)
    merges = [_as_pair(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    symbols = [
        *alphabet,
        *(sign + _WORD_SUFFIX for sign in alphabet),
        *(first + second for first, second in merges),
    ]
    # Different merges can meet in one symbol; the end of text must have the highest number
    # (open_clip pools there).
    words = [*dict.fromkeys(symbols), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "vocab.json", {word: index for index, word in enumerate(words)})
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    _write_json(folder / "special_tokens_map.json", special)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": CONTEXT_LENGTH,
            "do_lower_case": True,
            "add_prefix_space": False,
            **special,
        },
    )


def _corpus(num_captions: int) -> Iterator[str]:
    for index in range(num_captions):
        yield caption_of(index).lower()
    text = resources.files(__package__).joinpath("words.txt").read_text(encoding="utf-8")
    for word in text.split():
        # Repeated, so that a common word outweighs the rare corners of a caption.
        yield " ".join([word.lower()] * 40)


def _as_pair(merge: str | list[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
