"""Bytes in, bytes out: the artifact store, content-addressed by SHA-256, and files of it for the engines.

May import: core. Must never: know a table, a tenant or a model, or hand out bytes that were not stored whole.
`minio` is imported in `storage/s3.py` only, and that only where the URL names a bucket.
"""
