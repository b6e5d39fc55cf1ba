"""The word statistics are right: compared with a count that is made in another way."""

import gzip
import json
import math
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "word_statistics"
TOP = 4


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[str]]:
    """Each document's words: what is left when all but letters, and apostrophes between them, becomes a space."""
    found = {}
    for path in FOLDER.glob("data/*.gz"):
        text = gzip.decompress(path.read_bytes()).decode("utf-8").lower()
        kept = "".join(c if c in "abcdefghijklmnopqrstuvwxyz'’" else " " for c in text)
        words = []
        for piece in kept.split():
            # An apostrophe counts only between two letters; two in a row end the word.
            words += [word.strip("'’") for word in re.split("['’]{2,}", piece) if word.strip("'’")]
        found[path.name.removesuffix(".txt.gz")] = words
    return found


@pytest.fixture(scope="module")
def statistics(tmp_path_factory) -> dict:
    flyte = Path(sys.executable).with_name("flyte")
    command = [flyte, "run", "--output", "json", "examples/word_statistics/main.py", "main", "--top", str(TOP)]
    environment = {**os.environ, "FLYTE_HOME": str(tmp_path_factory.mktemp("flyte"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    (output,) = json.loads(done.stdout)["outputs"].values()
    return output


def tally(words: list[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for word in words:
        counts[word] += 1
    return counts


def test_words_are_counted(corpus, statistics):
    assert [d["name"] for d in statistics["documents"]] == sorted(corpus)
    assert {d["name"]: (d["words"], d["different"]) for d in statistics["documents"]} == {
        name: (len(words), len(set(words))) for name, words in corpus.items()
    }
    every = [word for words in corpus.values() for word in words]
    assert statistics["words"] == len(every) > 500_000
    assert statistics["different"] == len(set(every))
    occurrences = tally(every)
    assert statistics["frequent"] == {word: occurrences[word] for word in ("the", "of", "and", "to")}
    assert max(n for word, n in occurrences.items() if word not in statistics["frequent"]) <= occurrences["to"]


def test_the_longest_words_are_the_longest(corpus, statistics):
    different = {word for words in corpus.values() for word in words}
    assert len(statistics["longest"]) == TOP
    assert set(statistics["longest"]) <= different
    shortest = min(len(word) for word in statistics["longest"])
    assert sum(len(word) > shortest for word in different) < TOP


def test_typical_words_have_the_highest_weights(corpus, statistics):
    documents = {name: set(words) for name, words in corpus.items()}
    for document in statistics["documents"]:
        words = corpus[document["name"]]
        weight = {
            word: n / len(words) * math.log(len(documents) / sum(word in other for other in documents.values()))
            for word, n in tally(words).items()
            if len(word) > 3 and not re.search("['’]", word)
        }
        chosen = [weight[word] for word in document["typical"]]
        assert len(chosen) == TOP
        assert chosen == sorted(chosen, reverse=True)
        others = max(w for word, w in weight.items() if word not in document["typical"])
        assert min(chosen) >= others > 0


def test_the_data_are_what_their_description_says():
    text = (FOLDER / "DATA.md").read_text()
    sizes = {p: len(gzip.decompress(p.read_bytes())) for p in FOLDER.glob("data/*.gz")}
    assert f"of {len(sizes)} presidents" in text
    assert f"{sum(sizes.values()) / 1e6:.1f} MB of text ({sum(p.stat().st_size for p in sizes) / 1e6:.1f} MB" in text
    assert "CC0-1.0" in text
    assert "://" not in text
