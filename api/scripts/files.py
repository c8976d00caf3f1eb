"""The text of generated scripts that scores files: one is one row, its path and its bytes. Names in capitals are
constants that the rendering puts in front."""

READ_FILES = '''
def read_values(path):
    """Each file of a folder, or of a zip of one, in the order of their paths."""
    if os.path.isdir(path):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
        files = {os.path.relpath(file, path).replace(os.sep, "/"): file for file in found}
        opened = lambda file: open(file, "rb")
    else:
        archive = zipfile.ZipFile(path)
        files = {name: name for name in archive.namelist() if not name.endswith("/")}
        opened = archive.open
    for name in sorted(files):
        try:
            with opened(files[name]) as file:
                data = file.read(LARGEST_FILE_BYTES + 1)
        except OSError as error:
            yield None, f"{name}: cannot be read: {error.strerror}"
            continue
        if len(data) > LARGEST_FILE_BYTES:
            yield None, f"{name}: has more than {LARGEST_FILE_BYTES >> 20} MiB"
            continue
        try:
            yield None, {"path": name, "content": content(data)}
        except ValueError as error:
            yield None, f"{name}: {error}"
'''

# What the bytes mean, as `serving.files` has it.
CONTENT_OF_ONNX = '''

def content(data):
    """What a file is to the model: an array, a text, or the numbers of its bytes."""
    (_, kind, _, shape), *_ = INPUTS
    if data[:6] == b"\\x93NUMPY":
        array = np.load(io.BytesIO(data), allow_pickle=False)
        if array.dtype.kind not in "biufU":
            raise ValueError(f"is an array of {array.dtype}")
        return array.tolist()
    if kind == "BYTES" and shape in ([], [1]):
        return data.decode()
    if kind == "UINT8" and len(shape) == 1:
        return list(data)
    raise ValueError(f"is no .npy file of {kind} and the shape {shape}")
'''

CONTENT_OF_PMML = '''

def content(data):
    """A file is a text to the model."""
    return data.decode()
'''

CONTENT_FOR_API = '''

def content(data):
    """As it is sent."""
    return {"$base64": base64.b64encode(data).decode()}
'''

SCORE_API = '''
def answers(rows):
    """For each row what the service answers, or in a text why it does not; many small files are asked together."""
    found, group, size = [], [], 0
    for row in rows:
        length = len(row["content"]["$base64"])
        if group and size + length > GROUP_BYTES:
            found += asked(group)
            group, size = [], 0
        group.append(row)
        size += length
    return found + asked(group)


def asked(rows):
    if not rows:
        return []
    body = {"columns": [NAME], "data": [[row["content"]] for row in rows]}
    told = json.loads(post(json.dumps(body).encode()))
    names = told["outputs"]["columns"]
    answers = [dict(zip(names, values)) for values in told["outputs"]["data"]]
    for error in told.get("errors", ()):
        answers[error["index"]] = error["detail"]
    return answers
'''
