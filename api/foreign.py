"""The formats that are recognised and not served, by their first bytes, each with the way to one that is."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a file seems to be, and what its owner can do. A sentence continues "the file …"."""

    what: str
    advice: str
    is_model: bool = True
    is_whole_sentence: bool = False


SKLEARN: Final = (
    "Export it where it was trained: skl2onnx.to_onnx(model, X[:1]) gives ONNX, sklearn2pmml gives PMML. Pickles are "
    "programs and are never loaded here."
)
TORCH: Final = (
    "Export it where it was trained: torch.onnx.export(model, (example,), 'model.onnx', external_data=False)."
)
KERAS: Final = (
    "Export it where it was trained: model.export('model.onnx', format='onnx'), or tf2onnx.convert.from_keras."
)
TFLITE: Final = "Export it to ONNX: python -m tf2onnx.convert --tflite model.tflite --output model.onnx"
BOOSTER: Final = "Export it where it was trained: onnxmltools converts XGBoost and LightGBM models to ONNX."
CATBOOST: Final = "Save it as ONNX where it was trained: model.save_model('model.onnx', format='onnx')."
R_LANGUAGE: Final = "Export it to PMML where it was trained: the R packages r2pmml and pmml do so."
H2O: Final = "Export it to PMML or ONNX where it was trained; h2o's own formats need its runtime."
WEIGHTS: Final = "It has weights but no graph: export the whole model to ONNX where it was trained."
LANGUAGE: Final = "It is made for llama.cpp; language models are not served here."
PLAN: Final = "It is compiled for one device: upload the ONNX file that it was built from."
NUMPY: Final = "It holds arrays and no model: export the model that uses them to ONNX or PMML."

PICKLE: Final = Foreign("a Python pickle (scikit-learn, joblib or similar)", SKLEARN)
TORCH_FILE: Final = Foreign("a PyTorch model", TORCH)
KERAS_FILE: Final = Foreign("a Keras model", KERAS)
NUMPY_FILE: Final = Foreign("a NumPy file", NUMPY)
XGBOOST: Final = Foreign("an XGBoost model", BOOSTER)
IMAGE: Final = Foreign("an image", "", is_model=False)
ARCHIVE: Final = Foreign(
    "an archive or compressed file",
    "Unpack it and upload the model file itself; a zip file of several models needs a portside.json that names them.",
    is_model=False,
)

# In order: the first that matches the start of the file decides.
MAGIC: Final = tuple(
    (re.compile(pattern, re.DOTALL), found)
    for pattern, found in (
        # The number that torch.save wrote before 1.6, as the first object of a pickle.
        (rb"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", TORCH_FILE),
        (rb"\x80[\x02-\x05]", PICKLE),
        # Protocols 0 and 1: a global, or a container and where it is remembered, or one plain value.
        (rb"\(?c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n", PICKLE),
        (rb"\([dlt]p\d+\n|[\])}(]q[\x00-\x09]|\([dlti]\.\Z|[IFLVS][^\n]{1,80}\n(p\d+\n)?\.\Z", PICKLE),
        (rb"ZF0x", PICKLE),
        (rb"\x89HDF\r\n\x1a\n", Foreign("an HDF5 file, as Keras writes it (.h5)", KERAS)),
        (rb".{4}TFL3", Foreign("a TensorFlow Lite model", TFLITE)),
        (rb".{4}ORTM", Foreign("an ONNX Runtime (.ort) file", "Upload the .onnx file that it was made from.")),
        (rb"[^\x00].{3}\x00{4}\{[\"\s}]|\x00.{3}\x00{4}\{\"", Foreign("a safetensors file", WEIGHTS)),
        (rb"GGUF|ggjt|lmgg", Foreign("a GGUF language model", LANGUAGE)),
        (rb"\x93NUMPY", NUMPY_FILE),
        (rb"binf|bs64|\{L.{8}.?learner|\{L\x00{7}\x07learner", XGBOOST),
        (
            rb"\s*\{\s*\"(learner|version)\"\s*:.{0,4000}(\"gradient_booster\"|\"learner_model_param\"|\"learner\")",
            XGBOOST,
        ),
        (rb"tree\r?\nversion=", Foreign("a LightGBM model", BOOSTER)),
        (rb"CBM1", Foreign("a CatBoost model", CATBOOST)),
        (rb"\s*\{\s*\"(features_info|oblivious_trees|model_info)\"", Foreign("a CatBoost model", CATBOOST)),
        (rb"\s*\{\s*\"(class_name|module)\"\s*:.{0,200}\"(Functional|Sequential|keras)", KERAS_FILE),
        (
            rb"\s*\{\s*\"(format\"\s*:\s*\"(layers|graph)-model|modelTopology)\"",
            Foreign("a TensorFlow.js model", TFLITE),
        ),
        (
            rb"(RD[XA][23]\n)?[XAB]\n\x00\x00\x00[\x02\x03]\x00[\x00-\x09]|RD[XA][23]\n[XA]\n",
            Foreign("an R data file", R_LANGUAGE),
        ),
        (rb"ptrt|ftrt", Foreign("a TensorRT engine", PLAN)),
        (
            rb"(/\*.{0,4000}\*/|//[^\n]*\n|\s)*(package|import|public\s+class)\s.{0,8000}hex\.genmodel",
            Foreign("an H2O POJO", H2O),
        ),
        (
            rb"(artifact_path|flavors|model_uuid):",
            Foreign("an MLflow description (MLmodel)", "Upload the .onnx file beside it."),
        ),
        (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|BM.{4}\x00{4}|II\*\x00|MM\x00\*", IMAGE),
        (rb"%PDF", Foreign("a PDF document", "", is_model=False)),
        (rb"PAR1|ORC|Obj\x01|ARROW1", Foreign("a data file (Parquet, ORC, Avro or Arrow)", "", is_model=False)),
        (rb"SQLite format 3", Foreign("an SQLite database", "", is_model=False)),
        (rb"\xd0\xcf\x11\xe0", Foreign("an Office document", "", is_model=False)),
        (rb"\x7fELF|MZ|[\xcf\xce]\xfa\xed\xfe|#!|\xca\xfe\xba\xbe", Foreign("a program", "", is_model=False)),
        (
            rb"version https://git-lfs",
            Foreign("a Git LFS pointer", "Run `git lfs pull` and upload the file that it fetches.", is_model=False),
        ),
    )
)  # fmt: skip  (a table reads best with one format per line)

NOT_A_MODEL: Final = {
    "empty": Foreign("is empty", "", is_model=False, is_whole_sentence=True),
    "html": Foreign("an HTML page", "Was a login page saved in the model's place?", is_model=False),
    "json": Foreign("a JSON document", "", is_model=False),
    "csv": Foreign("a CSV table", "", is_model=False),
    "text": Foreign("a text file", "", is_model=False),
    "binary": Foreign("is of no format that is known here", "", is_model=False, is_whole_sentence=True),
}

CSV_LINE: Final = re.compile(r"[^\n,;\t]*([,;\t])[^\n]*\n?")
