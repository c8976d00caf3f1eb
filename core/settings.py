"""All settings, as `PORTSIDE_…` environment variables; URLs choose the backends, never a flag in the logic.

Built in two places only (`cli` and `workers/boot.py`) and passed on as an argument.
"""

from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024


class Settings(BaseSettings):
    """One frozen value per process; `docs/reference/settings.md` is printed from it."""

    model_config = SettingsConfigDict(env_prefix="PORTSIDE_", frozen=True, extra="ignore")

    data: Path = Field(default_factory=lambda: user_data_path("portside", appauthor=False), description="Data folder.")
    cache: Path = Field(
        default_factory=lambda: user_cache_path("portside", appauthor=False),
        description="Folder for what can be made again, such as Java's class archives; may be shared and removed.",
    )
    host: str = Field("127.0.0.1", description="Address the API listens on. Any other than loopback requires a token.")
    port: int = Field(8000, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    require_token: bool = Field(False, description="Ask for a token on a loopback address too, as behind a proxy.")
    public_url: str | None = Field(None, description="What clients call us, for absolute URLs behind a proxy.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["pretty", "json"] = Field("pretty", description="`pretty` lines, or `json`: an object a line.")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port where a worker or a node answers Prometheus (`/metrics`); default none."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of that port; figures are shown to who reaches it.")

    database_url: str | None = Field(None, description="`sqlite:///FILE` or `postgresql://…`; default a file in DATA.")
    broker_url: str = Field("inprocess://", description="`inprocess://`; what carries wake-ups.")
    artifacts_url: str | None = Field(None, description="`file:///DIR`; default a folder in DATA.")
    target: str = Field("node", description="Where services live: `node`, this machine's supervisor.")
    secret_key: str | None = Field(
        None, description="32 bytes in base64; default DATA/secret.key, made on first start."
    )

    admin_token: str | None = Field(
        None, description="`pst_…`: the first token, stored by `portside migrate` while there is none."
    )

    max_upload_bytes: int = Field(2048 * MIB, gt=0, description="Largest artifact, enforced while it streams.")
    max_body_bytes: int = Field(
        4 * MIB, gt=0, description="Largest body of a submitted prediction; other JSON bodies have at most 1 MiB."
    )
    max_predict_bytes: int = Field(64 * MIB, gt=0, description="Largest prediction body.")
    inspect_timeout_s: float = Field(120, gt=0, description="Time limit of one inspection.")
    inspect_memory_mb: int = Field(4096, gt=0, description="Memory limit (RLIMIT_DATA) of one inspection, MiB.")
    deploy_timeout_s: float = Field(120, gt=0, description="A replica that is not ready by then fails the deploy.")
    serving_python: str | None = Field(None, description="Interpreter of the model server; default our own.")
    drain_s: float = Field(10, ge=0, description="Grace for running work at stop.")

    lease_s: float = Field(
        10, gt=0, description="A claim or a caretaker that does not renew within this is taken over."
    )
    poll_s: float = Field(2, gt=0, description="How often a worker looks at its lanes without being woken.")
    lanes: Annotated[dict[str, int], NoDecode] = Field(
        {"control": 4, "predict": 8, "deliver": 8, "run": 2}, description="Slots per lane, `control=4,predict=8`."
    )
    max_attempts: int = Field(5, gt=0, description="Attempts of an operation before it ends failed.")

    allow_private_webhooks: bool | None = Field(
        None, description="Let webhooks reach loopback and private addresses; default: loopback only, when bound to it."
    )
    idempotency_hours: int = Field(24, ge=24, description="How long an Idempotency-Key is remembered.")
    prediction_hours: int = Field(24, gt=0, description="How long a finished prediction is kept.")
    operation_days: int = Field(30, ge=30, description="How long a finished operation is kept.")

    @field_validator("lanes", mode="before")
    @classmethod
    def _read_lanes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = (part.split("=", 1) for part in value.split(",") if part.strip())
        return {name.strip(): int(slots) for name, slots in pairs}

    @property
    def database(self) -> str:
        """The database's URL, the default filled in."""
        return self.database_url or f"sqlite:///{self.data.absolute() / 'portside.db'}"

    @property
    def artifacts(self) -> str:
        """The artifact store's URL, the default filled in."""
        return self.artifacts_url or f"file://{self.data.absolute() / 'artifacts'}"
