"""Small PMML files, written by hand so that every expected number can be computed by hand."""

HEAD = '<Header copyright="us" description="by hand"><Application name="Pen" version="2"/></Header>'


def number(name: str, datatype: str = "double", inner: str = "") -> str:
    return f'<DataField name="{name}" optype="continuous" dataType="{datatype}">{inner}</DataField>'


def category(name: str, *values: str, datatype: str = "string") -> str:
    inner = "".join(f'<Value value="{value}"/>' for value in values)
    return f'<DataField name="{name}" optype="categorical" dataType="{datatype}">{inner}</DataField>'


def schema(*inputs: str, target: str | None = None) -> str:
    """Inputs are names, or whole MiningField elements."""
    fields = [item if item.startswith("<") else f'<MiningField name="{item}"/>' for item in inputs]
    if target is not None:
        fields.insert(0, f'<MiningField name="{target}" usageType="target"/>')
    return f"<MiningSchema>{''.join(fields)}</MiningSchema>"


def document(fields: str, body: str, version: str = "4.4") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<PMML xmlns="http://www.dmg.org/PMML-4_4" version="{version}">\n'
        f"{HEAD}\n<DataDictionary>\n{fields}\n</DataDictionary>\n{body}\n</PMML>\n"
    )


def split(field: str, operator: str, value: float | str, inner: str, attributes: str = "") -> str:
    predicate = f'<SimplePredicate field="{field}" operator="{operator}" value="{value}"/>'
    return f"<Node {attributes}>{predicate}{inner}</Node>"


def stump(field: str, threshold: float, low: str, high: str, function: str = "regression") -> str:
    """A sub-model: one split, two scores."""
    return (
        f'<TreeModel functionName="{function}" splitCharacteristic="binarySplit">{schema(field)}'
        f"<Node><True/>{split(field, 'lessOrEqual', threshold, '', f'score={low!r}')}"
        f"{split(field, 'greaterThan', threshold, '', f'score={high!r}')}</Node></TreeModel>"
    )


def segments(method: str, *models: str) -> str:
    inner = "".join(f'<Segment id="{i}"><True/>{model}</Segment>' for i, model in enumerate(models, 1))
    return f'<Segmentation multipleModelMethod="{method}">{inner}</Segmentation>'


def distribution(**counts: float) -> str:
    return "".join(f'<ScoreDistribution value="{label}" recordCount="{n}"/>' for label, n in counts.items())


TREE = document(
    category("grade", "low", "high") + number("age", "integer") + category("job", "clerk", "nurse"),
    '<TreeModel modelName="grades" functionName="classification">'
    + schema("age", "job", target="grade")
    + '<Output><OutputField name="grade_answer" feature="predictedValue" optype="categorical" dataType="string"/>'
    '<OutputField name="p_high" feature="probability" value="high" optype="continuous" dataType="double"/></Output>'
    + "<Node><True/>"
    + split("age", "lessThan", 30, distribution(low=9, high=1), 'score="low"')
    + split("job", "equal", "nurse", distribution(low=1, high=3), 'score="high"')
    + split("job", "equal", "clerk", distribution(low=6, high=4), 'score="low"')
    + "</Node></TreeModel>",
)

REGRESSION = document(
    number("price")
    + number("size", inner='<Interval closure="closedOpen" leftMargin="0" rightMargin="100"/>')
    + number("rooms", "integer")
    + category("color", "red", "blue"),
    '<RegressionModel functionName="regression" normalizationMethod="none">'
    + schema(
        '<MiningField name="size"/>',
        '<MiningField name="rooms" missingValueReplacement="5" missingValueTreatment="asMedian"/>',
        '<MiningField name="color" invalidValueTreatment="asIs"/>',
        target="price",
    )
    + '<RegressionTable intercept="1"><NumericPredictor name="size" coefficient="2"/>'
    '<NumericPredictor name="rooms" coefficient="3"/>'
    '<CategoricalPredictor name="color" value="red" coefficient="10"/></RegressionTable></RegressionModel>',
)

LOGISTIC = document(
    category("churn", "0", "1", datatype="integer") + number("x", "float"),
    '<RegressionModel functionName="classification" normalizationMethod="logit">'
    + schema("x", target="churn")
    + '<RegressionTable intercept="-1" targetCategory="1"><NumericPredictor name="x" coefficient="2"/>'
    "</RegressionTable>"
    '<RegressionTable intercept="0" targetCategory="0"/></RegressionModel>',
)

CLUSTERS = document(
    number("x") + number("y"),
    '<ClusteringModel functionName="clustering" modelClass="centerBased" numberOfClusters="2">'
    + schema("x", "y")
    + '<ComparisonMeasure kind="distance"><squaredEuclidean/></ComparisonMeasure>'
    '<ClusteringField field="x"/><ClusteringField field="y"/>'
    '<Cluster id="near" name="Near"><Array n="2" type="real">0 0</Array></Cluster>'
    '<Cluster id="far" name="Far"><Array n="2" type="real">10\n10</Array></Cluster></ClusteringModel>',
)

NETWORK = document(
    number("y") + number("x"),
    '<NeuralNetwork functionName="regression" activationFunction="rectifier">'
    + schema("x", target="y")
    + '<NeuralInputs><NeuralInput id="i"><DerivedField optype="continuous" dataType="double"><FieldRef field="x"/>'
    "</DerivedField></NeuralInput></NeuralInputs>"
    '<NeuralLayer><Neuron id="h1" bias="-1"><Con from="i" weight="2"/></Neuron>'
    '<Neuron id="h2" bias="0"><Con from="i" weight="-1"/></Neuron></NeuralLayer>'
    '<NeuralLayer activationFunction="identity"><Neuron id="o" bias="4"><Con from="h1" weight="3"/>'
    '<Con from="h2" weight="5"/></Neuron></NeuralLayer>'
    '<NeuralOutputs><NeuralOutput outputNeuron="o"><DerivedField optype="continuous" dataType="double">'
    '<FieldRef field="y"/></DerivedField></NeuralOutput></NeuralOutputs></NeuralNetwork>',
)

SCORECARD = document(
    number("risk") + number("age"),
    '<Scorecard functionName="regression" initialScore="10" useReasonCodes="true" reasonCodeAlgorithm="pointsBelow"'
    ' baselineScore="20">'
    + schema("age", target="risk")
    + '<Output><OutputField name="final" feature="predictedValue" optype="continuous" dataType="double"/>'
    '<OutputField name="why" feature="reasonCode" rank="1" optype="categorical" dataType="string"/></Output>'
    '<Characteristics><Characteristic name="a" reasonCode="AGE">'
    '<Attribute partialScore="5"><SimplePredicate field="age" operator="isMissing"/></Attribute>'
    '<Attribute partialScore="7"><SimplePredicate field="age" operator="lessThan" value="40"/></Attribute>'
    '<Attribute partialScore="30"><True/></Attribute></Characteristic></Characteristics></Scorecard>',
)

FOREST = document(
    number("y") + number("x"),
    f'<MiningModel functionName="regression">{schema("x", target="y")}'
    + segments("average", stump("x", 1, "10", "20"), stump("x", 2, "1", "3"), stump("x", 3, "4", "8"))
    + "</MiningModel>",
)

VOTES = document(
    category("y", "a", "b") + number("x"),
    f'<MiningModel functionName="classification">{schema("x", target="y")}'
    + segments("majorityVote", *(stump("x", at, "a", "b", "classification") for at in (1, 2, 3)))
    + "</MiningModel>",
)

BOOSTED = document(
    category("y", "no", "yes") + number("x"),
    f'<MiningModel functionName="classification" algorithmName="GradientBoosting">{schema("x", target="y")}'
    + segments(
        "modelChain",
        f'<MiningModel functionName="regression">{schema("x")}<Output><OutputField name="margin" optype="continuous"'
        ' dataType="double" isFinalResult="false"/></Output>'
        + segments("sum", stump("x", 1, "-1", "1"), stump("x", 2, "-0.5", "0.5"))
        + "</MiningModel>",
        '<RegressionModel functionName="classification" normalizationMethod="logit">'
        + schema("margin", target="y")
        + '<Output><OutputField name="probability(yes)" feature="probability" value="yes" optype="continuous"'
        ' dataType="double"/></Output><RegressionTable intercept="0" targetCategory="yes">'
        '<NumericPredictor name="margin" coefficient="1"/></RegressionTable>'
        '<RegressionTable intercept="0" targetCategory="no"/></RegressionModel>',
    )
    + "</MiningModel>",
)

SELECTED = document(
    number("y") + number("x"),
    f'<MiningModel functionName="regression">{schema("x", target="y")}'
    '<Segmentation multipleModelMethod="selectFirst">'
    f'<Segment><SimplePredicate field="x" operator="lessThan" value="0"/>{stump("x", -5, "-100", "-1")}</Segment>'
    f"<Segment><True/>{stump('x', 5, '1', '100')}</Segment></Segmentation></MiningModel>",
)

BAYES = document(
    category("play", "yes", "no") + category("wind", "weak", "strong"),
    '<NaiveBayesModel functionName="classification" threshold="0.001">'
    + schema("wind", target="play")
    + '<BayesInputs><BayesInput fieldName="wind">'
    '<PairCounts value="weak"><TargetValueCounts><TargetValueCount value="yes" count="6"/>'
    '<TargetValueCount value="no" count="2"/></TargetValueCounts></PairCounts>'
    '<PairCounts value="strong"><TargetValueCounts><TargetValueCount value="yes" count="3"/>'
    '<TargetValueCount value="no" count="3"/></TargetValueCounts></PairCounts></BayesInput></BayesInputs>'
    '<BayesOutput fieldName="play"><TargetValueCounts><TargetValueCount value="yes" count="9"/>'
    '<TargetValueCount value="no" count="5"/></TargetValueCounts></BayesOutput></NaiveBayesModel>',
)

RULES = document(
    category("risk", "high", "low") + number("age") + category("job"),
    '<RuleSetModel functionName="classification">'
    + schema("age", "job", target="risk")
    + '<RuleSet defaultScore="low" defaultConfidence="0.25"><RuleSelectionMethod criterion="firstHit"/>'
    '<SimpleRule id="r1" score="high" weight="0.9" confidence="0.8">'
    '<CompoundPredicate booleanOperator="and"><SimplePredicate field="age" operator="lessThan" value="20"/>'
    '<SimplePredicate field="job" operator="equal" value="pilot"/></CompoundPredicate></SimpleRule>'
    "</RuleSet></RuleSetModel>",
)

BASKETS = document(
    category("beer", datatype="boolean") + category("crisps", datatype="boolean"),
    '<AssociationModel functionName="associationRules" numberOfTransactions="4" numberOfItems="2" minimumSupport="0"'
    ' minimumConfidence="0" numberOfItemsets="2" numberOfRules="1">'
    + schema("beer", "crisps")
    + '<Item id="1" value="beer"/><Item id="2" value="crisps"/>'
    '<Itemset id="a"><ItemRef itemRef="1"/></Itemset><Itemset id="b"><ItemRef itemRef="2"/></Itemset>'
    '<AssociationRule support="0.5" confidence="0.75" lift="1.5" antecedent="a" consequent="b"/></AssociationModel>',
)

TRANSACTIONS = document(
    category("basket") + category("item"),
    BASKETS[BASKETS.index("<AssociationModel") : BASKETS.index("</PMML>")].replace(
        schema("beer", "crisps"), schema('<MiningField name="basket" usageType="group"/>', "item")
    ),
)

ISOLATION = document(
    number("x"),
    '<AnomalyDetectionModel functionName="regression" algorithmType="iforest" sampleDataSize="4">'
    + schema("x")
    + f'<MiningModel functionName="regression">{schema("x")}<Output><OutputField name="path" optype="continuous"'
    ' dataType="double"/></Output>'
    + segments("average", stump("x", 5, "1", "3"), stump("x", 6, "1", "3"))
    + "</MiningModel></AnomalyDetectionModel>",
)

NEIGHBORS = document(
    category("kind", "a", "b") + number("size") + number("x"),
    '<NearestNeighborModel functionName="mixed" numberOfNeighbors="1">'
    '<MiningSchema><MiningField name="kind" usageType="target"/><MiningField name="size" usageType="target"/>'
    '<MiningField name="x"/></MiningSchema>'
    '<TrainingInstances><InstanceFields><InstanceField field="x" column="x"/>'
    '<InstanceField field="kind" column="kind"/><InstanceField field="size" column="size"/></InstanceFields>'
    "<InlineTable><row><x>0</x><kind>a</kind><size>1.5</size></row>"
    "<row><x>10</x><kind>b</kind><size>7.5</size></row></InlineTable></TrainingInstances>"
    '<ComparisonMeasure kind="distance"><euclidean/></ComparisonMeasure>'
    '<KNNInputs><KNNInput field="x"/></KNNInputs></NearestNeighborModel>',
)

PROJECTION = document(
    number("a") + number("b"),
    '<TransformationDictionary><DerivedField name="centered" optype="continuous" dataType="double">'
    '<Apply function="-"><FieldRef field="a"/><Constant dataType="double">1</Constant></Apply></DerivedField>'
    '<DerivedField name="pca(a, b)[0]" optype="continuous" dataType="double"><Apply function="+">'
    '<FieldRef field="centered"/><FieldRef field="b"/></Apply></DerivedField>'
    '<DerivedField name="pca(a, b)[1]" optype="continuous" dataType="double"><Apply function="-">'
    '<FieldRef field="centered"/><FieldRef field="b"/></Apply></DerivedField></TransformationDictionary>',
)

COMPONENTS = document(
    number("a") + number("b"),
    '<RegressionModel functionName="regression" algorithmName="PCA">'
    + schema("a", "b")
    + "<Output>"
    + "".join(
        f'<OutputField name="pc{i}" feature="transformedValue" optype="continuous" dataType="double">'
        f'<Apply function="{op}"><FieldRef field="a"/><FieldRef field="b"/></Apply></OutputField>'
        for i, op in enumerate("+-", 1)
    )
    + '</Output><RegressionTable intercept="0"/></RegressionModel>',
)

DATED = document(
    number("y") + '<DataField name="day" optype="continuous" dataType="date"/>',
    '<RegressionModel functionName="regression">'
    + schema("day", target="y")
    + '<LocalTransformations><DerivedField name="days" optype="continuous" dataType="integer">'
    '<Apply function="dateDaysSinceYear"><FieldRef field="day"/><Constant dataType="integer">1970</Constant></Apply>'
    '</DerivedField></LocalTransformations><RegressionTable intercept="0">'
    '<NumericPredictor name="days" coefficient="2"/></RegressionTable></RegressionModel>',
)
