"""What Portside needs to know of a PMML file, as data: declared fields, and an outline of each model.

The heavy parts (tree nodes, vectors, coefficients) are not kept: a file of 500 MB has an outline of a few kilobytes.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class DataField:
    """A field of the DataDictionary: `values` are (value, property) with property valid, invalid or missing."""

    name: str
    optype: str
    datatype: str
    line: int
    description: str | None = None
    values: list[tuple[str, str]] = field(default_factory=list)
    intervals: list[dict[str, str]] = field(default_factory=list)

    def valid_values(self) -> list[str]:
        return [value for value, kind in self.values if kind == "valid"]


@dataclass(slots=True)
class MiningField:
    """A field of the first model's MiningSchema."""

    name: str
    line: int
    usage: str
    optype: str | None
    missing_treatment: str | None
    missing_replacement: str | None
    invalid_treatment: str | None
    invalid_replacement: str | None


@dataclass(slots=True)
class DeclaredOutput:
    """An OutputField."""

    name: str
    feature: str
    datatype: str | None
    optype: str | None
    value: str | None
    target: str | None
    is_final: bool
    segment: str | None
    description: str | None
    values: list[str] = field(default_factory=list)


@dataclass(slots=True)
class DerivedField:
    """A DerivedField of the TransformationDictionary."""

    name: str
    optype: str
    datatype: str


@dataclass(slots=True)
class ModelOutline:
    """One model element, with the models of its segments."""

    element: str
    attributes: dict[str, str]
    line: int
    parent: "ModelOutline | None" = None
    mining_fields: list[MiningField] = field(default_factory=list)
    outputs: list[DeclaredOutput] = field(default_factory=list)
    targets: dict[str, list[str]] = field(default_factory=dict)  # the Targets element: name to declared values
    method: str | None = None  # of the Segmentation
    segments: list["ModelOutline"] = field(default_factory=list)
    is_unconditional: bool = False  # as a segment: its predicate is True
    categories: dict[str, None] = field(default_factory=dict)  # class labels met in the content, in order
    clusters: list[tuple[str, str | None]] = field(default_factory=list)
    comparison: str | None = None  # "distance" or "similarity"
    machines: int = 0  # SupportVectorMachine elements
    has_distribution: bool = False
    has_surrogates: bool = False

    @property
    def function(self) -> str:
        return self.attributes.get("functionName", "")

    def leaves(self) -> list["ModelOutline"]:
        """The models that have no segments, in document order."""
        if not self.segments:
            return [self]
        return [leaf for segment in self.segments for leaf in segment.leaves()]

    def answering(self) -> list["ModelOutline"]:
        """The models whose own result may be the answer: a chain answers with its last segment that applies."""
        if self.method == "selectFirst":
            candidates = self.segments
        elif self.method == "modelChain":
            candidates = []
            for segment in reversed(self.segments):
                candidates.append(segment)
                if segment.is_unconditional:
                    break
        else:
            return [self]
        return [answering for segment in candidates for answering in segment.answering()]


@dataclass(slots=True)
class PmmlDocument:
    """A whole file. `used` holds the first line on which each field's name is used."""

    version: str = ""
    encoding: str = "utf-8"
    header: dict[str, str] = field(default_factory=dict)
    fields: dict[str, DataField] = field(default_factory=dict)
    derived: list[DerivedField] = field(default_factory=list)
    derived_uses: set[str] = field(default_factory=set)
    models: list[ModelOutline] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    used: dict[str, int] = field(default_factory=dict)
    missing_aware: set[str] = field(default_factory=set)

    @property
    def model(self) -> ModelOutline | None:
        """The model that is served: the first."""
        return self.models[0] if self.models else None
