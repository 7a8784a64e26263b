"""The six in-domain sets of MRQA 2019 (Fisch et al. 2019): the answer is a span of a passage.

On the Hub all sets share one configuration of `mrqa-workshop/mrqa`, and the column `subset` names a row's set. A
folder has one configuration per subset, named after it.
"""

from __future__ import annotations

from pipeline.tasks.base import HubSubset, Task, make_task

SUBSETS = {
    "squad": ("SQuAD", "Questions about paragraphs of Wikipedia"),
    "newsqa": ("NewsQA", "Questions about articles of CNN"),
    "triviaqa": ("TriviaQA-web", "Quiz questions about web pages"),
    "searchqa": ("SearchQA", "Clues of Jeopardy! about search results"),
    "hotpotqa": ("HotpotQA", "Questions that need two paragraphs of Wikipedia"),
    "naturalquestions": ("NaturalQuestionsShort", "Google queries about pages of Wikipedia"),
}

TASKS: tuple[Task, ...] = tuple(
    make_task(
        name,
        "mrqa-workshop/mrqa",
        "span",
        config=subset,
        hub_subset=HubSubset(config="plain_text", column="subset", value=subset),
        columns={role: role for role in ("question", "context", "answers")}
        | {"detected": "detected_answers"},
        description=description,
    )
    for name, (subset, description) in SUBSETS.items()
)
