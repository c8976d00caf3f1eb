"""Encrypted Parquet is refused as what it is, not as damaged."""

import base64
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from pyarrow.parquet import encryption

from serving.data.describe import Describer
from serving.data.formats import DatasetInvalid
from serving.data.recognise import Said


class OpenKeys(encryption.KmsClient):  # type: ignore[misc]  # pyarrow tells no types
    """Keys that lock nothing."""

    def __init__(self, connection: object) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, master: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, wrapped: bytes, master: str) -> bytes:
        return base64.b64decode(wrapped)


@pytest.mark.parametrize("is_footer_plain", [False, True])
def test_an_encrypted_file_is_told(tmp_path: Path, is_footer_plain: bool) -> None:
    said = encryption.EncryptionConfiguration("k", column_keys={"k": ["a"]}, plaintext_footer=is_footer_plain)
    keys = encryption.CryptoFactory(OpenKeys).file_encryption_properties(encryption.KmsConnectionConfig(), said)
    table = pa.table({"a": [1, 2], "b": [1, 2]})
    with parquet.ParquetWriter(tmp_path / "locked", table.schema, encryption_properties=keys) as writer:
        writer.write_table(table)
    with pytest.raises(DatasetInvalid, match="encrypted") as caught:
        Describer(
            tmp_path / "locked", Said(), "", preview_rows=5, is_quick=False, report=lambda size, rows: None
        ).describe()
    assert "without encryption" in caught.value.hint
