"""Word statistics of a real corpus: what 15 presidents of the United States spoke of, 1913 to 2000.

$ python examples/word_statistics/main.py
$ flyte run examples/word_statistics/main.py report --top 5
$ flyte run --output json examples/word_statistics/main.py main --top 3

Each document is counted in a task of its own, the counts are merged, and further tasks find the words that are typical
of each document: frequent there and rare in the others (tf-idf). The data and their licence are in DATA.md.
"""

import asyncio
import gzip
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import flyte

DATA = Path(__file__).parent / "data"
WORD = re.compile(r"[a-z]+(?:['’][a-z]+)*")

env = flyte.TaskEnvironment(name="word_statistics", include=("data",))


@dataclass
class Document:
    name: str
    words: int
    different: int
    typical: list[str]


@dataclass
class Statistics:
    documents: list[Document]
    words: int
    different: int
    frequent: dict[str, int]
    longest: list[str]


@env.task
def count(document: str) -> dict[str, int]:
    """How often each word occurs in a document."""
    with gzip.open(DATA / f"{document}.txt.gz", "rt", encoding="utf-8") as text:
        return dict(Counter(WORD.findall(text.read().lower())))


@env.task
def merge(counts: list[dict[str, int]]) -> tuple[dict[str, int], dict[str, int]]:
    """How often each word occurs in all documents together, and in how many of them."""
    occurrences: Counter[str] = Counter()
    for one in counts:
        occurrences.update(one)
    return dict(occurrences), dict(Counter(word for one in counts for word in one))


@env.task
def typical(own: dict[str, int], found_in: dict[str, int], documents: int, top: int) -> list[str]:
    """The words of one document with the highest tf-idf; contractions and words of up to three letters are left out."""
    weights = {word: n * math.log(documents / found_in[word]) for word, n in own.items() if len(word) > 3}
    return sorted((w for w in weights if w.isalpha()), key=lambda word: (-weights[word], word))[:top]


@env.task
async def main(top: int = 6) -> Statistics:
    """Statistics of all documents.

    :param top: how many words to name of each kind.
    """
    names = sorted(path.name.removesuffix(".txt.gz") for path in DATA.glob("*.txt.gz"))
    counts = await asyncio.gather(*[count.aio(name) for name in names])
    occurrences, found_in = await merge.aio(counts)
    words = await asyncio.gather(*[typical.aio(own, found_in, len(names), top) for own in counts])
    return Statistics(
        documents=[Document(*row) for row in zip(names, map(_total, counts), map(len, counts), words, strict=True)],
        words=_total(occurrences),
        different=len(occurrences),
        frequent=dict(sorted(occurrences.items(), key=lambda item: (-item[1], item[0]))[:top]),
        longest=sorted(occurrences, key=lambda word: (-len(word), word))[:top],
    )


def _total(counts: dict[str, int]) -> int:
    return sum(counts.values())


@env.task
async def report(top: int = 6) -> str:
    """The statistics as text.

    :param top: how many words to name of each kind.
    """
    found = await main(top)
    lines = [f"{len(found.documents)} documents, {found.words:,} words, {found.different:,} different"]
    lines.append("most frequent: " + ", ".join(f"{word} {n:,}" for word, n in found.frequent.items()))
    lines.append("longest:       " + ", ".join(found.longest))
    lines += ["", f"{'document':26}{'words':>8}{'different':>11}  typical words"]
    lines += [f"{d.name:26}{d.words:>8,}{d.different:>11,}  {', '.join(d.typical)}" for d in found.documents]
    return "\n".join(lines)


if __name__ == "__main__":
    print(flyte.run(report).result)
