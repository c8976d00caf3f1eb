"""What a PMML model is called: its task, and its algorithm in the words a data scientist uses."""

from collections import Counter

from serving.engines.pmml_document import ModelOutline, PmmlDocument
from serving.engines.pmml_inputs import target_fields
from serving.signature import Algorithm, Task

_PLAIN = {
    "AnomalyDetectionModel": "anomaly detection",
    "AssociationModel": "association rules",
    "ClusteringModel": "k-means",
    "GeneralRegressionModel": "generalized linear model",
    "MiningModel": "ensemble",
    "NaiveBayesModel": "naive Bayes",
    "NearestNeighborModel": "k-nearest neighbors",
    "NeuralNetwork": "neural network",
    "RegressionModel": "linear regression",
    "RuleSetModel": "rule set",
    "Scorecard": "scorecard",
    "SupportVectorMachineModel": "support vector machine",
    "TreeModel": "decision tree",
}
_ANOMALY = {
    "iforest": "isolation forest",
    "ocsvm": "one-class support vector machine",
    "clusterMeanDist": "anomaly detection by distance to the cluster",
}
_GENERAL = {
    "regression": "linear regression",
    "generalLinear": "linear regression",
    "multinomialLogistic": "logistic regression",
    "ordinalMultinomial": "ordinal regression",
    "CoxRegression": "Cox regression",
}
_BY_PRODUCER = (
    ("isolationforest", "isolation forest"),
    ("oneclasssvm", "one-class support vector machine"),
    ("randomforest", "random forest"),
    ("extratrees", "extremely randomized trees"),
    ("gradientboosting", "gradient boosting"),
    ("xgboost", "gradient boosting"),
    ("lightgbm", "gradient boosting"),
    ("catboost", "gradient boosting"),
    ("adaboost", "AdaBoost"),
    ("pca", "principal component analysis"),
)
_FUNCTION_TASKS: dict[str, Task] = {
    "classification": "classification",
    "regression": "regression",
    "clustering": "clustering",
    "associationRules": "association",
}


def task_of(document: PmmlDocument) -> Task:
    """The model's task. PMML has no word for dimension reduction and, before 4.4, none for anomalies."""
    model = document.model
    if model is None:
        return "dimension_reduction"
    if model.element == "AnomalyDetectionModel":
        return "anomaly"
    if model.function == "regression" and not target_fields(document):
        if _produced_as(model) in ("isolation forest", "one-class support vector machine"):
            return "anomaly"
        if len(component_names(model)) > 1:
            return "dimension_reduction"
    if model.function == "mixed":
        categorical = any(field.optype != "continuous" for field in target_fields(document))
        return "classification" if categorical else "regression"
    return _FUNCTION_TASKS.get(model.function, "tensor")


def component_names(model: ModelOutline) -> list[str]:
    """The final outputs that are computed and continuous: how producers write a projection's components."""
    return [
        output.name
        for output in model.outputs
        if output.is_final and output.feature == "transformedValue" and output.optype == "continuous"
    ]


def algorithm_of(document: PmmlDocument) -> Algorithm:
    """The algorithm in words, and the elements it was read from."""
    model = document.model
    if model is None:
        is_pca = any(field.name.startswith("pca(") for field in document.derived)
        name = "principal component analysis" if is_pca else "transformation"
        return Algorithm(name, "TransformationDictionary")
    named = model.attributes.get("algorithmName")
    return Algorithm(_name(model), _detail(model) + (f", {named}" if named else ""))


def _name(model: ModelOutline) -> str:
    if model.element == "MiningModel":
        return _ensemble(model)
    if model.element == "AnomalyDetectionModel":
        return _ANOMALY.get(model.attributes.get("algorithmType", ""), _PLAIN[model.element])
    if model.element == "RegressionModel":
        return _produced_as(model) or _regression(model)
    if model.element == "GeneralRegressionModel":
        return _GENERAL.get(model.attributes.get("modelType", ""), _PLAIN[model.element])
    if model.element == "ClusteringModel" and model.comparison == "similarity":
        return "clustering by similarity"
    return _produced_as(model) or _PLAIN[model.element]


def _regression(model: ModelOutline) -> str:
    normalization = model.attributes.get("normalizationMethod", "none")
    if model.function == "classification":
        return "logistic regression" if normalization in ("logit", "softmax") else "linear classification"
    if normalization in ("logit", "softmax"):
        return "logistic regression"
    return "linear regression" if normalization == "none" else f"linear regression ({normalization})"


def _ensemble(model: ModelOutline) -> str:
    leaves = Counter(leaf.element for leaf in model.leaves())
    produced = _produced_as(model)
    if leaves["TreeModel"] > 1 and set(leaves) <= {"TreeModel", "RegressionModel"}:
        kind = produced or _tree_kind(model)
        return f"tree ensemble ({kind})" if kind else "tree ensemble"
    if produced:
        return produced
    if len(leaves) == 1:
        leaf = model.leaves()[0]
        words = _name(leaf)
        return words if sum(leaves.values()) == 1 else f"ensemble ({words})"
    return "ensemble (" + ", ".join(_PLAIN[element] for element in leaves) + ")"


def _tree_kind(model: ModelOutline) -> str:
    """Sums of trees are boosted, averages and votes are forests."""
    methods = {model.method} | {segment.method for segment in model.segments}
    if methods & {"sum", "weightedSum", "x-weightedSum"}:
        return "gradient boosting"
    return "random forest" if methods & {"average", "majorityVote"} else ""


def _produced_as(model: ModelOutline) -> str:
    written = model.attributes.get("algorithmName", "").lower().replace("_", "").replace(" ", "")
    return next((words for key, words in _BY_PRODUCER if key in written), "")


def _detail(model: ModelOutline) -> str:
    if not model.segments:
        return model.element
    leaves = Counter(leaf.element for leaf in model.leaves())
    parts = ", ".join(f"{count} {element}" for element, count in leaves.items())
    return f"{model.element} ({model.method}: {parts})" if model.method else f"{model.element} ({parts})"
