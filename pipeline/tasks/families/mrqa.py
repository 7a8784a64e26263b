"""The six in-domain sets of MRQA 2019 (Fisch et al. 2019): answers that are a span of a passage.

The Hub has the rows of all sets in one configuration of `mrqa-workshop/mrqa` and tells them apart by the column
`subset`; a folder has a configuration named like the subset.
"""

from __future__ import annotations

from camtl.heads import HeadSpec
from pipeline.tasks.base import HubSubset, Task

DATASET = "mrqa-workshop/mrqa"

SUBSETS = {
    "squad": ("SQuAD", "Questions about paragraphs of Wikipedia"),
    "newsqa": ("NewsQA", "Questions about articles of CNN"),
    "triviaqa": ("TriviaQA-web", "Questions of quizzes, with web pages that answer them"),
    "searchqa": ("SearchQA", "Clues of Jeopardy!, with what a search finds"),
    "hotpotqa": ("HotpotQA", "Questions that need two paragraphs of Wikipedia"),
    "naturalquestions": ("NaturalQuestionsShort", "Questions put to Google, with pages of Wikipedia"),
}

TASKS: tuple[Task, ...] = tuple(
    Task(
        name=name,
        dataset=DATASET,
        config=subset,
        hub_subset=HubSubset(config="plain_text", column="subset", value=subset),
        head=HeadSpec(kind="span", num_labels=2),
        columns={
            "question": "question",
            "context": "context",
            "answers": "answers",
            "detected": "detected_answers",
        },
        metrics=("em", "token_f1"),
        description=description,
    )
    for name, (subset, description) in SUBSETS.items()
)
