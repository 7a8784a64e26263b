"""The tokenizer that prepares rows.

The tokenizer travels as the JSON text of its fast backend: reading processes need neither its files, nor
the Hub, nor the seconds that importing `transformers` takes. The text also identifies a tokenizer.
"""

from __future__ import annotations

import functools
import hashlib

from tokenizers import Tokenizer

from pipeline.errors import first_line


def tokenizer_json(name: str) -> str:
    """The fast tokenizer's backend as JSON, free of any state of padding and truncation.

    Args:
        name: Hub id, or a folder with a tokenizer.

    Raises:
        ValueError: There is no tokenizer, or none with a fast backend, or it has no words.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"tokenizer {name!r} cannot be loaded ({first_line(error)}): give a Hub id or its folder"
        ) from error
    if not tokenizer.is_fast:
        raise ValueError(f"tokenizer {name!r} has no fast version: choose a backbone with a tokenizer.json")
    # A copy: the state of padding and truncation belongs to whoever else uses this tokenizer.
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    # Of a folder without a tokenizer's files transformers makes one for which every word is unknown.
    if backend.get_vocab_size() <= len(backend.get_added_tokens_decoder()):
        raise ValueError(f"tokenizer {name!r} knows no words: its folder lacks tokenizer.json, put it there")
    backend.no_padding()
    backend.no_truncation()
    text: str = backend.to_str()
    return text


def tokenizer_fingerprint(text: str) -> str:
    """Identifies a tokenizer by all that its backend does, wherever its files lie."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_max_seq_length(text: str, max_seq_length: int, texts: int) -> None:
    """Raises ValueError where rows of `texts` texts would have no room for a token of each."""
    needed = backend(text).num_special_tokens_to_add(texts == 2) + texts
    if max_seq_length < needed:
        raise ValueError(
            f"max_seq_length {max_seq_length} is too short for {texts} text(s) a row: use {needed} or more"
        )


@functools.lru_cache(maxsize=2)
def backend(text: str) -> Tokenizer:
    """The tokenizer of `tokenizer_json`'s text, made once per process."""
    return Tokenizer.from_str(text)
