"""A tokenizer is identified by what it does."""

from pathlib import Path

from transformers import AutoTokenizer

from pipeline.data.tokenization import tokenizer_json


def test_padding_and_truncation_in_use_do_not_change_a_tokenizer(tokenizer_dir: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    tokenizer(["a cat"], padding="max_length", truncation=True, max_length=7)
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer_json(str(tmp_path)) == tokenizer_json(tokenizer_dir)
