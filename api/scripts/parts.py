"""The text of generated scripts that reads and writes. Names in capitals are constants that the rendering puts in
front; how the model is asked is in `scoring` and `java`."""

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
    return json.dumps(value, separators=(",", ":")) if isinstance(value, (list, dict)) else value
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

MAIN = '''
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
                kept.append({**through, **written(answer, through)})
            output.write(kept)
            counts["in"] += len(chunk)
            counts["out"] += len(kept)
    output.close()
    print(json.dumps(counts))


def written(answer, through):
    """An answer as columns: in CSV vectors of one length have one for each place, and what is no value is JSON."""
    row = {}
    for name, value in answer.items():
        called = f"predicted_{name}" if name in through else name
        if isinstance(value, list) and len(value) == VECTORS.get(name):
            row.update((f"{called}({at})", each) for at, each in enumerate(value))
        elif isinstance(value, (dict, list)) and not is_numeric(value):
            row[called] = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        else:
            row[called] = value
    return row


def is_numeric(value):
    return all(map(is_numeric, value)) if isinstance(value, list) else isinstance(value, (int, float))


if __name__ == "__main__":
    main()
'''
