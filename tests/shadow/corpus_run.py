"""Explain the corpus and tell failures by class: ``python -m tests.shadow.corpus_run [pairs|semantic] [examples]``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shadow.causes import CAUSES, Severity
from shadow.difference import Explanation, Proof
from shadow.explain import explain
from shadow.json_value import Meaning
from shadow.pointer import pointer_of
from tests.shadow.made import body_of, corpus_rows

COSMETIC = frozenset(name for name, cause in CAUSES.items() if cause.severity is Severity.COSMETIC)


@dataclass(slots=True, kw_only=True)
class Score:
    """Hold what came out of one file of the corpus."""

    rows: int = 0
    right: int = 0
    proven: Counter[Proof] = field(default_factory=Counter)
    cosmetic: Counter[Proof] = field(default_factory=Counter)
    """Of the pairs that have cosmetic causes only."""
    missed: Counter[str] = field(default_factory=Counter)
    invented: Counter[str] = field(default_factory=Counter)
    wrong_meaning: int = 0
    failures: list[tuple[str, dict[str, Any], Explanation]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Give the share of right rows."""
        return self.right / max(self.rows, 1)

    @property
    def proven_cosmetic(self) -> float:
        """Give the proven share of the pairs with cosmetic causes only."""
        return self.cosmetic[Proof.PROVEN] / max(sum(self.cosmetic.values()), 1)


def run_pairs(rows: Iterable[dict[str, Any]]) -> Score:
    """Explain labelled pairs: right is the exact set of causes."""
    score = Score()
    for row in rows:
        explanation = explain(body_of(row, "legacy"), body_of(row, "new"))
        wanted = frozenset(row["causes"])
        score.rows += 1
        score.proven[explanation.proof] += 1
        score.wrong_meaning += (explanation.meaning is Meaning.SAME) != row["semantically_equal"]
        if wanted and wanted <= COSMETIC:
            score.cosmetic[explanation.proof] += 1
        if explanation.causes == wanted:
            score.right += 1
            if explanation.proof is not Proof.PROVEN:
                score.failures.append((f"{explanation.proof.value}", row, explanation))
            continue
        missed, invented = sorted(wanted - explanation.causes), sorted(explanation.causes - wanted)
        score.missed.update(missed)
        score.invented.update(invented)
        score.failures.append((f"missed {missed} invented {invented}", row, explanation))
    return score


def run_semantic(rows: Iterable[dict[str, Any]]) -> Score:
    """Explain real faults: right is the label's cause at the label's pointer, one row per label."""
    score = Score()
    for row in rows:
        explanation = explain(body_of(row, "legacy"), body_of(row, "new"))
        score.proven[explanation.proof] += 1
        found = {(one.cause, pointer_of(one.path)) for one in explanation.differences}
        labels = [label for label in row["labels"] if not label["cause"].startswith("http.")]
        allowed = {label["cause"] for label in labels} | set(row["cosmetic_causes"])
        invented = sorted(explanation.causes - allowed) if len(labels) == len(row["labels"]) else []
        score.invented.update(invented)
        missed = []
        for label in labels:
            score.rows += 1
            is_right = (label["cause"], label["pointer"]) in found
            score.right += is_right
            if not is_right:
                missed.append(label["cause"])
        score.missed.update(missed)
        if missed or invented:
            score.failures.append((f"{row['kind']} missed {missed[:3]} invented {invented}", row, explanation))
    return score


def main(name: str = "pairs", examples: int = 1) -> None:
    """Run one file and print what failed, the largest class first."""
    started = time.process_time()
    score = (run_pairs if name == "pairs" else run_semantic)(corpus_rows(f"{name}.jsonl.gz"))
    seconds = time.process_time() - started
    print(f"{name}: {score.right} of {score.rows} right ({score.share:.2%}), {seconds:.1f} s")
    print(f"wrong meaning {score.wrong_meaning}, proofs {score.proven}, proven cosmetic {score.proven_cosmetic:.2%}")
    print(f"missed {score.missed.most_common()}")
    print(f"invented {score.invented.most_common()}")
    by_class: dict[str, list[tuple[str, dict[str, Any], Explanation]]] = {}
    for failure in score.failures:
        by_class.setdefault(failure[0], []).append(failure)
    for title, failures in sorted(by_class.items(), key=lambda item: -len(item[1])):
        print(f"\n== {len(failures)} x {title}")
        for _, row, explanation in failures[:examples]:
            print("  ", row.get("case", row.get("id")), row["legacy_encoder"], row["new_encoder"], explanation.residual)
            print("   L", body_of(row, "legacy")[:300])
            print("   N", body_of(row, "new")[:300])
            for one in explanation.differences[:6]:
                print("    ", one.cause, pointer_of(one.path), one.detail)


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "pairs", int(sys.argv[2]) if sys.argv[2:] else 1)
