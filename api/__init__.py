"""The control plane's HTTP surface: says what is wanted, reads what is true. Nothing here does the work itself.

May import: state, storage, core. The only room that knows FastAPI; in front of it, in `gateway/`, the prediction path.
Must never: import workers, k8s or cli, write a status, keep a transaction open while a client sends or waits.
"""
