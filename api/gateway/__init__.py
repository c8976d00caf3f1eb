"""The prediction path: pure ASGI in front of FastAPI and a hand-held HTTP/1.1 client behind it.

Must never: read the database or the broker while a request is under way, or know FastAPI.
"""
