"""HTTP/2 by hand, the server's side of it (RFC 9113): one connection's frames, header blocks, windows and streams.

Lives here: what any HTTP/2 server needs, bounded against a hostile client; what a stream carries is not known here.
May import: the rest of the island, as far as it knows no protocol of models.
Must never: hold more of what a client sends or does not read than its windows and the room for bodies allow.
"""
