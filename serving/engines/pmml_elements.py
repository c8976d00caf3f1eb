"""PMML's element and attribute names, as far as Portside reads them (dmg.org, PMML 4.4)."""

# Those that PMML4S 1.5 builds (org.pmml4s.xml.Builder) and those that it knows and refuses.
SUPPORTED_MODELS = frozenset(
    {
        "AnomalyDetectionModel",
        "AssociationModel",
        "ClusteringModel",
        "GeneralRegressionModel",
        "MiningModel",
        "NaiveBayesModel",
        "NearestNeighborModel",
        "NeuralNetwork",
        "RegressionModel",
        "RuleSetModel",
        "Scorecard",
        "SupportVectorMachineModel",
        "TreeModel",
    }
)
UNSUPPORTED_MODELS = frozenset(
    {"BaselineModel", "BayesianNetworkModel", "GaussianProcessModel", "SequenceModel", "TextModel", "TimeSeriesModel"}
)

# Where an element names a field: the attribute that does.
FIELD_ATTRIBUTES = {
    "Aggregate": "field",
    "BayesInput": "fieldName",
    "CategoricalPredictor": "name",
    "ClusteringField": "field",
    "Discretize": "field",
    "FieldColumnPair": "field",
    "FieldRef": "field",
    "KNNInput": "field",
    "MiningField": "name",
    "NormContinuous": "field",
    "NormDiscrete": "field",
    "NumericPredictor": "name",
    "PPCell": "predictorName",
    "SimplePredicate": "field",
    "SimpleSetPredicate": "field",
    "Target": "field",
    "TextIndex": "textField",
    "VariableWeight": "field",
}
# Where an element carries numbers: PMML4S says `None.get` or worse where one is none.
NUMBER_ATTRIBUTES = {
    "Attribute": ("partialScore",),
    "CategoricalPredictor": ("coefficient",),
    "Coefficient": ("value",),
    "Coefficients": ("absoluteValue",),
    "Con": ("weight",),
    "GaussianDistribution": ("mean", "variance"),
    "LinearNorm": ("orig", "norm"),
    "Neuron": ("bias", "width", "altitude"),
    "NumericPredictor": ("exponent", "coefficient"),
    "PCell": ("beta",),
    "RegressionTable": ("intercept",),
    "ScoreDistribution": ("recordCount", "confidence", "probability"),
    "Scorecard": ("initialScore",),
    "Segment": ("weight",),
}
OPTYPES = ("continuous", "categorical", "ordinal")
# Where an element carries a class label.
LABEL_ATTRIBUTES = {
    "Node": ("score",),
    "NormDiscrete": ("value",),  # of a NeuralOutput
    "RegressionTable": ("targetCategory",),
    "ScoreDistribution": ("value",),
    "SimpleRule": ("score",),
    "SupportVectorMachine": ("targetCategory", "alternateTargetCategory"),
    "TargetValueCount": ("value",),
    "TargetValueStat": ("value",),
    "PCell": ("targetCategory",),
}
# Free content, or content that scoring does not read.
SKIPPED = frozenset(
    {"Extension", "InlineTable", "MiningBuildTask", "ModelExplanation", "ModelStats", "ModelVerification"}
)
MISSING_OPERATORS = frozenset({"isMissing", "isNotMissing"})
MAX_LABELS = 10_000  # a regression tree's leaf scores are no class labels
# OutputField features: those that all tell how near an entity is, and those that PMML4S does not compute
# (a residual would make the target an input).
AFFINITY_FEATURES = ("affinity", "clusterAffinity", "entityAffinity")
UNSUPPORTED_FEATURES = frozenset(
    {"confidenceIntervalLower", "confidenceIntervalUpper", "residual", "ruleValue", "standardDeviation"}
)
# Segmentation methods that PMML4S computes (org.pmml4s.model.MultipleModelMethod), without selectAll, whose answer
# has a different length for every record.
METHODS = frozenset(
    {
        "average",
        "majorityVote",
        "max",
        "median",
        "modelChain",
        "selectFirst",
        "sum",
        "weightedAverage",
        "weightedMajorityVote",
        "weightedMedian",
        "weightedSum",
        "x-weightedMedian",
        "x-weightedSum",
    }
)
DATATYPE_PATTERN = (
    r"string|integer|float|double|boolean|date|time|dateTime|timeSeconds|"
    r"date(?:Days|TimeSeconds)Since\[(?:0|1960|1970|1980)\]"
)
