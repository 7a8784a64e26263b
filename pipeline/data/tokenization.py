"""The tokenizer that prepares rows.

It travels between processes as the JSON text of its fast backend: reading processes need neither its files, nor the
Hub, nor the seconds that importing `transformers` takes. The text also identifies the tokenizer.
"""

from __future__ import annotations

import functools
import hashlib

from tokenizers import Tokenizer

from pipeline.errors import first_line


def tokenizer_json(name: str) -> str:
    """Returns the JSON text of the fast backend of a Hub id's or folder's tokenizer, without padding and truncation.

    Raises:
        ValueError: There is no tokenizer, it has no fast backend, or its vocabulary is empty.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"tokenizer {name!r} cannot be loaded ({first_line(error)}): give a Hub id or a folder"
        ) from error
    if not tokenizer.is_fast:
        raise ValueError(f"tokenizer {name!r} has no fast version: choose a backbone with a tokenizer.json")
    # A copy: other users of this tokenizer keep their padding and truncation.
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    # From a folder without a tokenizer's files transformers makes one that knows no word.
    if backend.get_vocab_size() <= len(backend.get_added_tokens_decoder()):
        raise ValueError(f"tokenizer {name!r} knows no words: add the missing tokenizer.json to its folder")
    backend.no_padding()
    backend.no_truncation()
    text: str = backend.to_str()
    return text


def tokenizer_fingerprint(text: str) -> str:
    """Identifies a tokenizer by what its backend does, wherever its files are."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_max_seq_length(text: str, max_seq_length: int, texts: int) -> None:
    """Raises ValueError if an encoding of `texts` texts has no room for one token of each."""
    needed = load_tokenizer(text).num_special_tokens_to_add(texts == 2) + texts
    if max_seq_length < needed:
        raise ValueError(
            f"max_seq_length {max_seq_length} is too short for {texts} text(s) a row: use {needed} or more"
        )


@functools.lru_cache(maxsize=2)
def load_tokenizer(text: str) -> Tokenizer:
    """Returns the tokenizer of `tokenizer_json`'s text, made once per process."""
    return Tokenizer.from_str(text)
