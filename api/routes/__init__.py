"""One file per resource: read the request, one call into state, one answer.

Every mutation goes through `api.mutations`.
"""
