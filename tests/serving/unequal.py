"""What cannot be compared for lack of memory, as at the moment when there is none."""


class Name(str):
    """The name of a column, to compare which with another there is no memory."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Name):
            raise MemoryError  # noqa: TRY004 - what fails is not the type
        return super().__eq__(other)
