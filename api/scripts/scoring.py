"""The text of generated scripts that asks the model: a service of the platform, or the model's own file. Names in
capitals are constants that the rendering puts in front."""

SCORE_API = '''
csv.field_size_limit(2**31 - 1)


def answers(rows):
    """For each row what the service answers, or in a text why it does not."""
    if not rows:
        return []
    body = io.StringIO(newline="")
    writer = csv.writer(body)
    writer.writerow(FEEDS)
    for row in rows:
        writer.writerow([cell(row, columns) for columns in FEEDS.values()])
    told = json.loads(post(body.getvalue().encode()))
    names = told["outputs"]["columns"]
    found = [dict(zip(names, values)) for values in told["outputs"]["data"]]
    for error in told.get("errors", ()):
        found[error["index"]] = error["detail"]
    return found


def cell(row, columns):
    """A value as a cell of the table that is asked; several columns are a vector."""
    if isinstance(columns, list):
        return "[" + ",".join(element(row.get(column)) for column in columns) + "]"
    value = row.get(columns)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else json.dumps(value) if isinstance(value, (list, dict)) else value


def element(value):
    if isinstance(value, str) and not HAS_TEXTS:
        return value.strip() or "null"
    return json.dumps(value)

'''

POST = """
def post(body):
    headers = {"Content-Type": ASKED_IN, "Accept": "application/json"}
    if os.environ.get("PORTSIDE_TOKEN"):
        headers["Authorization"] = f"Bearer {os.environ['PORTSIDE_TOKEN']}"
    base = os.environ.get("PORTSIDE_API", API)
    address = f"{base}/api/v1/services/{SERVICE}/predict?on_error=record"
    for left in range(TRIES - 1, -1, -1):
        try:
            with urlopen(Request(address, body, headers)) as response:
                return response.read()
        except HTTPError as error:
            if error.code not in (429, 502, 503) or not left:
                sys.exit(f"{address} answered {error.code}: {error.read().decode(errors='replace')[:500]}")
        except URLError as error:
            if not left:
                sys.exit(f"{address} cannot be reached: {error.reason}")
        time.sleep(2)
"""

FED = '''
def answers(rows):
    """For each row what the model answers, or in a text why it does not."""
    found, good = [None] * len(rows), []
    for at, row in enumerate(rows):
        try:
            good.append((at, [fed(row, *each) for each in INPUTS]))
        except ValueError as error:
            found[at] = str(error)
    for (at, _), answer in zip(good, asked([values for _, values in good])):
        found[at] = answer
    return found


def fed(row, name, kind, columns, shape):
    """What a row has for an input: a value, or a list of them."""
    if isinstance(columns, list):
        return [number(row.get(column), name, kind, column) for column in columns]
    value = nested(row.get(columns), name, kind, columns)
    if shape == [1] and not isinstance(value, list):
        value = [value]
    if not fits(value, shape):
        raise ValueError(f"{columns}: is no {kind} of the shape {shape}")
    return value


def nested(value, name, kind, column):
    if isinstance(value, list):
        return [nested(each, name, kind, column) for each in value]
    return number(value, name, kind, column)


def fits(value, shape):
    """Whether lists are as long as they must be; -1 is any length."""
    if not shape or not isinstance(value, list):
        return not shape and not isinstance(value, list)
    return shape[0] in (-1, len(value)) and all(fits(each, shape[1:]) for each in value)


def number(value, name, kind, column):
    """A value as its input takes it."""
    is_real = kind.startswith(("FP", "BF"))
    if value is None or value != value:
        if name in NULLABLE:
            return float("nan") if is_real else None
        raise ValueError(f"{column}: is missing")
    if kind == "BYTES":
        return allowed(value if isinstance(value, str) else str(value), name, column)
    try:
        if kind == "BOOL":
            return allowed({"true": True, "1": True, "false": False, "0": False}[str(value).lower()], name, column)
        if "_" in str(value) or not math.isfinite(float(value)):
            raise ValueError
        if is_real:
            return allowed(float(value), name, column)
        if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
            return allowed(int(value), name, column)  # a float has not all of its digits
        if float(value) != int(float(value)):
            raise ValueError
        return allowed(int(value) if not isinstance(value, str) else int(float(value)), name, column)
    except NotAllowed:
        raise
    except (ValueError, TypeError, KeyError, OverflowError):
        raise ValueError(f"{column}: {str(value)[:40]!r} is not {kind}") from None


class NotAllowed(ValueError):
    pass


def allowed(value, name, column):
    """The value, where it is one that the model takes."""
    values, ranges = DOMAINS.get(name, ([], []))
    is_inside = not ranges or any(
        (low is None or value > low or (has_low and value == low))
        and (high is None or value < high or (has_high and value == high))
        for low, high, has_low, has_high in ranges
    )
    if (values and value not in values) or not is_inside:
        raise NotAllowed(f"{column}: {str(value)[:40]!r} is none of the values that the model takes")
    return value

'''

TOLD = '''
def told(values):
    """A row's outputs under the names that the platform gives them."""
    row = {}
    for how, called, names, columns in ANSWERS:
        parts = [values[name] if isinstance(values[name], list) else [values[name]] for name in names]
        found = [each for part in parts for each in part]
        if how == "whole":
            row[called] = values[names[0]]
        elif how == "each":
            columns = columns if len(columns) == len(found) else [f"{called}{at})" for at in range(len(found))]
            row.update(zip(columns, found))
        elif how in ("most", "least"):
            at = found.index((max if how == "most" else min)(found))
            row[called] = columns[at] if at < len(columns) else at
        elif how == "rules":
            row[called] = rules(dict(zip(names, (values[name] for name in names))))
        elif len(found) == 1:
            row[called] = found[0] if how == "one" else is_anomaly(found[0], how)
        elif len(columns) == len(found):
            row.update(zip(columns, found))
        else:
            row[called] = found
    return row
'''

ANOMALIES = '''

def is_anomaly(value, how):
    """Detectors say true, 1 or a word; scikit-learn's, whose outliers are `negative`, say -1."""
    if isinstance(value, str) and value:
        return value.lower() in ("true", "outlier", "anomaly", "1", "-1")
    if value is None or value == "" or value != value:
        return None
    return value == -1 if how == "negative" else bool(value)
'''

RULES = '''

def rules(parts):
    """A list of rules, each an object of its parts."""
    if any(isinstance(part, list) for part in parts.values()):
        lists = (part if isinstance(part, list) else [part] for part in parts.values())
        return [dict(zip(parts, each)) for each in zip(*lists)]
    is_none = all(part is None or part == "" or part != part for part in parts.values())
    return [] if is_none else [parts]
'''

SCORE_ONNX = '''
def asked(rows):
    """The answers to rows that are right; each is asked alone where the model refuses some of them together."""
    if not rows:
        return []
    try:
        if BATCH != "stack" and len(rows) > 1:
            return [answer for row in rows for answer in asked([row])]
        feeds = {}
        for place, (name, kind, *_) in enumerate(INPUTS):
            values = np.array([row[place] for row in rows], KINDS[kind])
            feeds[name] = values[0] if BATCH == "none" else values
        outputs = {name: by_row(name, values, len(rows)) for name, values in run(feeds).items() if name in OUTPUTS}
        return [told({name: values[at] for name, values in outputs.items()}) for at in range(len(rows))]
    except Exception as error:
        if len(rows) == 1:
            return [f"the model refuses this row: {error}"]
        half = len(rows) // 2
        return asked(rows[:half]) + asked(rows[half:])


def run(feeds):
    """The outputs by name; of a sequence each by itself."""
    outputs = {}
    for output, values in zip(SESSION.get_outputs(), SESSION.run(None, feeds)):
        if isinstance(values, list) and values and isinstance(values[0], np.ndarray):
            outputs.update((f"{output.name}_{at}", each) for at, each in enumerate(values))
        else:
            outputs[output.name] = values
    return outputs


def by_row(name, values, count):
    """An output's value of each row."""
    if isinstance(values, list):  # a dictionary for each row, as ZipMap makes them
        values = [[each[label] for label in OUTPUTS[name]] for each in values]
    values = np.asarray(values)
    if values.dtype in (np.float16, np.float32):
        values = values.astype(str).astype(np.float64)  # 0.1 and not 0.10000000149011612
    if not IS_TENSORS:
        return values.reshape(count, -1).tolist()
    is_split = BATCH != "none" and values.ndim and len(values) == count
    return values.tolist() if is_split else [values.tolist()] * count


KINDS = {"BOOL": np.bool_, "BYTES": object, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
for bits in (8, 16, 32, 64):
    KINDS.update({f"INT{bits}": np.dtype(f"int{bits}"), f"UINT{bits}": np.dtype(f"uint{bits}")})
'''
