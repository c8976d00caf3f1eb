"""One module (or folder) per model format, all behind `base.Engine`.

Lives here: everything that knows onnxruntime or PyPMML. The rest of `serving` sees names, numpy arrays and signatures.
"""
