"""Remakes the PMML examples: `python -m examples.make_pmml`, with Java 11 or newer on the path.

Most come from sklearn2pmml as users get them; two are written out here, because it cannot write such files.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pandas as pd
from sklearn2pmml import sklearn2pmml
from sklearn2pmml.pipeline import PMMLPipeline

from examples import trained
from examples.trained import Answer, Trained, iris_data, rounded
from examples.written import HERE, records, write_case, write_table

# The time of making would change the file, and with it its digest, on every run.
TIMESTAMP = re.compile(r"\s*<Timestamp>[^<]*</Timestamp>")
DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
  <Header copyright="Portside contributors" description={description}>
    <Application name="hand-written"/>
  </Header>
{body}
</PMML>
"""
LENGTHS, WIDTHS = ["short", "medium", "long"], ["thin", "medium", "wide"]


def save(path: Path, text: str, rows: pd.DataFrame, answers: Sequence[Answer]) -> None:
    """Write the model, its inputs and what to expect."""
    path.write_text(text, encoding="utf-8")
    write_case(path, records(rows), answers)


def convert(name: str, made: Trained) -> None:
    """Let sklearn2pmml write the pipeline, and leave out the time of making."""
    path = HERE / f"{name}.pmml"
    pipeline = PMMLPipeline(made.pipeline.steps)
    pipeline.active_fields = made.data.columns.to_numpy()
    pipeline.target_fields = [made.target] if made.target else None
    sklearn2pmml(pipeline, str(path), with_repr=False)
    save(path, TIMESTAMP.sub("", path.read_text(encoding="utf-8")), made.rows, made.answers)
    write_table(name, made.rows)


def wine_clusters() -> None:
    """K-means: PMML names a cluster by text and compares squared distances."""
    made = trained.wine_clusters()
    answers: list[Answer] = []
    for answer in made.answers:
        distances = answer["distances"]
        assert isinstance(distances, Mapping)
        squared = {key: rounded(distance**2) for key, distance in distances.items()}
        answers.append({"cluster": str(answer["cluster"]), "distances": squared})
    convert("wine-clusters", replace(made, answers=answers))


def breast_cancer_anomaly() -> None:
    """An isolation forest, whose file also tells scikit-learn's own word for an anomaly: -1."""
    made = trained.breast_cancer_anomaly()
    answers: list[Answer] = [
        {**answer, "fields": {"predict(outlier)": -1 if answer["anomaly"] else 1}} for answer in made.answers
    ]
    convert("breast-cancer-anomaly", replace(made, answers=answers))


def iris_logistic() -> None:
    """A file without an Output element: the engine has to find label and probabilities by itself."""
    made = trained.iris_logistic()
    logistic = made.pipeline[-1]
    values = "".join(f'\n      <Value value="{label}"/>' for label in logistic.classes_)
    fields = "".join(
        f'\n    <DataField name="{c}" displayName={quoteattr(c.replace("_", " ") + " in cm")} optype="continuous"'
        f' dataType="double">\n      <Interval closure="openClosed" leftMargin="0" rightMargin="30"/>\n    </DataField>'
        for c in made.data.columns
    )
    mining = "".join(f'\n      <MiningField name="{column}"/>' for column in made.data.columns)
    tables = ""
    for label, intercept, weights in zip(logistic.classes_, logistic.intercept_, logistic.coef_, strict=True):
        terms = "".join(
            f'\n      <NumericPredictor name="{column}" coefficient="{weight:.12g}"/>'
            for column, weight in zip(made.data.columns, weights, strict=True)
        )
        tables += f'\n    <RegressionTable targetCategory="{label}" intercept="{intercept:.12g}">{terms}'
        tables += "\n    </RegressionTable>"
    body = f"""  <DataDictionary numberOfFields="{len(made.data.columns) + 1}">{fields}
    <DataField name="species" optype="categorical" dataType="string">{values}
    </DataField>
  </DataDictionary>
  <RegressionModel modelName="iris" functionName="classification" normalizationMethod="softmax">
    <MiningSchema>{mining}
      <MiningField name="species" usageType="target"/>
    </MiningSchema>{tables}
  </RegressionModel>"""
    description = quoteattr("Iris species from two petal measurements, without an Output element")
    text = DOCUMENT.format(description=description, body=body)
    save(HERE / "iris-logistic.pmml", text, made.rows, made.answers)
    write_table("iris-logistic", made.rows)


@dataclass(frozen=True)
class Rule:
    """If a flower's petals are this long and this wide, then it is of this species."""

    petal_length: str
    petal_width: str
    species: str
    confidence: float
    support: float

    @property
    def basket(self) -> tuple[str, str]:
        """The items on the left side."""
        return f"petal_length={self.petal_length}", f"petal_width={self.petal_width}"


def mined_rules() -> list[Rule]:
    """The commonest species of each combination that at least three flowers show: no two rules match one flower."""
    data, species = iris_data()
    lengths = pd.cut(data.petal_length, [0, 2.5, 5, 9], right=False, labels=LENGTHS).astype(str)
    widths = pd.cut(data.petal_width, [0, 0.8, 1.7, 9], right=False, labels=WIDTHS).astype(str)
    combinations = Counter(zip(lengths, widths, strict=True))
    counts = Counter(zip(lengths, widths, species, strict=True))
    return [
        Rule(length, width, kind, count / combinations[length, width], count / len(data))
        for (length, width, kind), count in sorted(counts.items())
        if count >= 3 and count > combinations[length, width] / 2
    ]


def rule_elements(rules: Sequence[Rule]) -> str:
    """Item, Itemset and AssociationRule elements."""
    kinds = sorted({rule.species for rule in rules})
    items = [*(f"petal_length={v}" for v in LENGTHS), *(f"petal_width={v}" for v in WIDTHS), *kinds]
    itemsets: list[tuple[str, ...]] = [*(rule.basket for rule in rules), *((kind,) for kind in kinds)]
    lines = [f'<Item id="{index}" value="{item}"/>' for index, item in enumerate(items, 1)]
    for index, itemset in enumerate(itemsets, 1):
        references = "".join(f'<ItemRef itemRef="{items.index(item) + 1}"/>' for item in itemset)
        lines.append(f'<Itemset id="{index}" numberOfItems="{len(itemset)}">{references}</Itemset>')
    for index, rule in enumerate(rules, 1):
        lines.append(
            f'<AssociationRule id="{index}" support="{rule.support:.9g}" confidence="{rule.confidence:.9g}"'
            f' antecedent="{index}" consequent="{itemsets.index((rule.species,)) + 1}"/>'
        )
    return "\n    ".join(lines)


def rules_body(rules: Sequence[Rule]) -> str:
    """The document's body, with the output features that PMML4S implements: it has none of `ruleValue`."""
    fields = "".join(
        f'\n    <DataField name="{name}" optype="categorical" dataType="string">'
        + "".join(f'<Value value="{value}"/>' for value in values)
        + "</DataField>"
        for name, values in (("petal_length", LENGTHS), ("petal_width", WIDTHS))
    )
    text, number = 'optype="categorical" dataType="string"', 'optype="continuous" dataType="double"'
    told = {"rule": text, "consequent": text, "confidence": number, "support": number}
    outputs = "".join(f'\n      <OutputField name="{f}" {kind} feature="{f}"/>' for f, kind in told.items())
    kinds = len({rule.species for rule in rules})
    return f"""  <DataDictionary numberOfFields="2">{fields}
  </DataDictionary>
  <AssociationModel modelName="iris rules" functionName="associationRules" numberOfTransactions="150"
      minimumSupport="0.02" minimumConfidence="0.5" numberOfItems="{len(LENGTHS) + len(WIDTHS) + kinds}"
      numberOfItemsets="{len(rules) + kinds}" numberOfRules="{len(rules)}">
    <MiningSchema>
      <MiningField name="petal_length"/>
      <MiningField name="petal_width"/>
    </MiningSchema>
    <Output>{outputs}
    </Output>
    {rule_elements(rules)}
  </AssociationModel>"""


def iris_rules() -> None:
    """Association rules between classes of petal size and species, counted here."""
    rules = mined_rules()
    answers: list[Answer] = [
        {
            "rules": [
                {
                    "rule": f"{{{rule.basket[0]} , {rule.basket[1]}}} -> {rule.species}",  # as PMML4S writes it
                    "consequent": rule.species,
                    "confidence": rounded(rule.confidence),
                    "support": rounded(rule.support),
                }
            ]
        }
        for rule in rules
    ]
    rows = pd.DataFrame(
        {"petal_length": [r.petal_length for r in rules], "petal_width": [r.petal_width for r in rules]}
    )
    description = quoteattr("Which species goes with which class of petal length and width")
    save(HERE / "iris-rules.pmml", DOCUMENT.format(description=description, body=rules_body(rules)), rows, answers)
    write_table("iris-rules", rows)


def main() -> None:
    """Make them all."""
    convert("iris", trained.iris())
    convert("diabetes", trained.diabetes())
    convert("diabetes-risk", trained.diabetes_risk())
    convert("wine-pca", trained.wine_pca())
    breast_cancer_anomaly()
    wine_clusters()
    iris_logistic()
    iris_rules()


if __name__ == "__main__":
    main()
