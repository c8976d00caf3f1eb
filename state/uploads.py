"""Uploads that come in parts, each a blob of its own; what they become takes the parts over and the upload is gone."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select

from core.clock import now_micros
from core.errors import Conflict, FieldProblem, InvalidField, NotFound, TooLarge
from core.ids import new_id
from state.blobs import hold_blob
from state.database import Session, WriteSession
from state.datatables import Upload, UploadPart
from state.operations import Named, Who
from state.queries.datasets import Piece
from state.queries.lists import Page, View, page
from state.queries.rows import nowhere, owned

MOST_PARTS = 10_000


class IncompleteUpload(Conflict):
    """Parts are missing, or together they are not as large as was announced."""

    code, title = "incomplete_upload", "The upload is not complete"


async def begin_upload(session: WriteSession, who: Who, filename: str | None, size_bytes: int | None) -> Upload:
    """An upload without a part yet."""
    now = now_micros()
    row = Upload(
        id=new_id("upl"),
        tenant_id=who.tenant_id,
        created_at=now,
        touched_at=now,
        filename=filename,
        size_bytes=size_bytes,
    )
    session.add(row)
    await session.flush()
    return row


async def find_upload(session: Session, tenant_id: str, upload_id: str) -> Upload:
    """The tenant's upload. Raises `NotFound`."""
    return await owned(session, Upload, tenant_id, upload_id, "upload")


async def hold_upload(session: WriteSession, tenant_id: str, upload_id: str) -> Upload:
    """The same, locked until the transaction ends. Raises `NotFound`, also once it is used."""
    query = select(Upload).where(Upload.id == upload_id, Upload.tenant_id == tenant_id)
    row = (await session.execute(query.with_for_update())).scalar_one_or_none()
    if row is None:
        raise nowhere("upload", upload_id)
    return row


async def list_uploads(session: Session, tenant_id: str, view: View) -> Page[Upload]:
    """The tenant's uploads that nothing was made of yet."""
    return await page(session, select(Upload).where(Upload.tenant_id == tenant_id), Upload, view)


async def parts_of(session: Session, upload_id: str) -> Sequence[UploadPart]:
    """Its parts by their numbers."""
    query = select(UploadPart).where(UploadPart.upload_id == upload_id)
    return list(await session.scalars(query.order_by(UploadPart.number)))


async def find_part(session: Session, upload_id: str, number: int) -> UploadPart:
    """One of them. Raises `NotFound`."""
    query = select(UploadPart).where(UploadPart.upload_id == upload_id, UploadPart.number == number)
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise NotFound(f"upload {upload_id} has no part {number}")
    return row


async def put_part(session: WriteSession, row: Upload, number: int, piece: Piece, most_bytes: int) -> None:
    """A part for a locked upload, in place of a former one.

    Raises `TooLarge` where all have more than `most_bytes` together, `StoreUnavailable` where the sweeper was faster.
    """
    others = select(func.sum(UploadPart.size_bytes)).where(UploadPart.upload_id == row.id, UploadPart.number != number)
    if int(await session.scalar(others) or 0) + piece.size_bytes > most_bytes:
        raise TooLarge(f"the parts of upload {row.id} have more than {most_bytes} bytes together, a dataset has not")
    await hold_blob(session, piece.digest)
    former = (UploadPart.upload_id == row.id, UploadPart.number == number)
    await session.execute(delete(UploadPart).where(*former))
    session.add(UploadPart(upload_id=row.id, number=number, digest=piece.digest, size_bytes=piece.size_bytes))
    row.touched_at = now_micros()
    await session.flush()


async def take_parts(session: WriteSession, row: Upload, most_bytes: int) -> list[Piece]:
    """All parts of a locked upload, which is gone with that. Raises `IncompleteUpload`, `InvalidField`."""
    parts = await parts_of(session, row.id)
    numbers = {part.number for part in parts}
    missing = [number for number in range(1, max(numbers, default=1) + 1) if number not in numbers]
    total = sum(part.size_bytes for part in parts)
    where = f"PUT /api/v1/uploads/{row.id}/parts/N"
    if missing:
        shown = ", ".join(map(str, missing[:10]))
        raise _incomplete(f"upload {row.id} has no part {shown}", f"send what is missing: {where}")
    if row.size_bytes is not None and total != row.size_bytes:
        detail = f"the parts of upload {row.id} have {total} bytes together, announced were {row.size_bytes}"
        raise _incomplete(detail, f"send the part that is wrong again: {where}")
    if total > most_bytes:
        detail, hint = f"upload {row.id} has {total} bytes, a dataset has at most {most_bytes}", "make several datasets"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/upload", detail, hint)])
    await forget_upload(session, row)
    return [Piece(part.digest, part.size_bytes) for part in parts]


async def forget_upload(session: WriteSession, row: Upload) -> None:
    """Delete a locked upload and its parts; their bytes go when nothing else refers to them."""
    await session.execute(delete(UploadPart).where(UploadPart.upload_id == row.id))
    await session.delete(row)
    await session.flush()


def named(row: Upload) -> Named:
    """An upload as what an operation is about."""
    return Named(row.id, row.filename or row.id)


def _incomplete(detail: str, hint: str) -> IncompleteUpload:
    return IncompleteUpload(f"{detail}; {hint}", fields=[FieldProblem("/upload", detail, hint)])
