"""Tables in files: what they are, what is in them, and their rows as chunks of Arrow columns.

Lives here: recognising formats, compressions, encodings and dialects, describing a file, cutting it into chunks that
are the same however often they are read, and the unpacking of archives into folders.
May import: the rest of the island; pyarrow, which is why nothing that serves predictions imports this room.
Must never: hold a whole file, follow a size that a file claims, or let a damaged file end otherwise than in words.
"""
