"""All settings, as `PORTSIDE_…` environment variables; URLs choose the backends, never a flag in the logic.

Built in two places only (`cli` and `workers/boot.py`) and passed on as an argument.
"""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")  # RFC 6454, in lower case


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
    grpc_port: Annotated[int, Field(ge=0, le=65535)] | Literal["off"] | None = Field(
        None,
        description="Port where gRPC is answered; 0 takes a free one, `off` none. Default: of `portside up` the port "
        "after its own, or a free one; of `portside api` none.",
    )
    grpc_host: str | None = Field(
        None, description="Address of that port; default the API's. Any other than loopback requires a token."
    )
    require_token: bool = Field(False, description="Ask for a token on a loopback address too, as behind a proxy.")
    service_ports: str = Field(
        "31000-50000",
        pattern=r"^(\d{1,5}-\d{1,5})?$",
        description="Ports that services may have for themselves, `FIRST-LAST`; empty: none may.",
    )
    public_url: str | None = Field(None, description="What clients call us, for absolute URLs behind a proxy.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "::1"),
        description="Addresses and networks whose `X-Forwarded-Proto` and `-For` are believed, `10.0.0.0/8,::1`.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may call us from a browser, `https://app.example.com,…`; `*` is any."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["pretty", "json"] = Field("pretty", description="`pretty` lines, or `json`: an object a line.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port where `/metrics` is answered without a token, by any process; default none.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address of that port; figures are shown to who reaches it.")

    database_url: str | None = Field(None, description="`sqlite:///FILE` or `postgresql://…`; default a file in DATA.")
    database_pool: int = Field(
        10, ge=2, description="Connections to PostgreSQL that this process keeps; a burst takes more."
    )
    broker_url: str = Field(
        "inprocess://",
        description="What carries wake-ups: `inprocess://`, or `redis://[:PASSWORD@]HOST[:PORT][/DB][?namespace=NAME]`"
        " (`rediss://` with TLS) between processes.",
    )
    artifacts_url: str | None = Field(
        None, description="`file:///DIR` or `s3://BUCKET/PREFIX`; default a folder in DATA."
    )
    s3_endpoint: str | None = Field(
        None,
        description="`https://HOST:PORT` of the S3 server that keeps the artifacts; default Amazon's for the region.",
    )
    s3_region: str = Field(
        "us-east-1", description="Region of the bucket; MinIO's is `us-east-1` unless it says otherwise."
    )
    s3_access_key: str | None = Field(None, description="Access key of the S3 server.")
    s3_secret_key: str | None = Field(None, repr=False, description="Secret key of the S3 server.")
    target: str = Field("node", description="Where services live: `node`, this machine's supervisor.")
    node_host: str | None = Field(
        None,
        description="Name or address of the node's machine for gateways on others: replicas and the node's logs listen "
        "there on TCP, with tokens; default: unix sockets, for gateways on the same machine.",
    )
    secret_key: str | None = Field(
        None, description="32 bytes in base64; default DATA/secret.key, made on first start."
    )

    admin_token: str | None = Field(
        None, description="`pst_…`: the first token, stored by `portside migrate` while there is none."
    )

    max_upload_bytes: int = Field(2048 * MIB, gt=0, description="Largest artifact or file, enforced while it streams.")
    max_dataset_bytes: int = Field(
        64 * 1024 * MIB, gt=0, description="Largest dataset, uploaded or fetched, enforced while it streams."
    )
    describe_bytes: int = Field(
        16 * 1024 * MIB,
        gt=0,
        description="Larger datasets are described by their beginning or footer, with an estimate of their rows.",
    )
    max_body_bytes: int = Field(
        4 * MIB, gt=0, description="Largest body of a submitted prediction; other JSON bodies have at most 1 MiB."
    )
    max_predict_bytes: int = Field(64 * MIB, gt=0, description="Largest prediction body.")
    inspect_timeout_s: float = Field(120, gt=0, description="Time limit of one inspection.")
    inspect_memory_mb: int = Field(4096, gt=0, description="Memory limit (RLIMIT_DATA) of one inspection, MiB.")
    deploy_timeout_s: float = Field(120, gt=0, description="A replica that is not ready by then fails the deploy.")
    serving_python: str | None = Field(None, description="Interpreter of the model server; default our own.")
    hold_s: float = Field(
        10, ge=0, description="How long a prediction waits for a replica of a service that has lost all of its."
    )
    service_concurrency: int = Field(
        1024,
        gt=0,
        description="How many predictions of one service a gateway has under way at once; as many wait for a moment, "
        "then 503.",
    )
    leave_s: float = Field(
        3,
        ge=0,
        description="How long `portside api` that is asked to stop still answers, not ready, until proxies notice.",
    )
    drain_s: float = Field(10, ge=0, description="Grace for running work at stop.")

    lease_s: float = Field(6, gt=0, description="A claim or a caretaker that does not renew within this is taken over.")
    poll_s: float = Field(2, gt=0, description="How often a worker looks at its lanes without being woken.")
    lanes: Annotated[dict[str, int], NoDecode] = Field(
        {"control": 4, "predict": 16, "deliver": 32, "run": 2, "fetch": 4},
        description="Slots per lane, `control=4,predict=16`.",
    )
    runs_at_once: int | None = Field(
        None,
        gt=0,
        description="Processes of runs that the node has at a time; the others wait. Default: as many as cores.",
    )
    run_stall_s: float = Field(
        300,
        gt=0,
        description="A batch's process that reports nothing and hardly computes for so long is ended, and another one "
        "goes on from what is stored; one that computes may be silent 24 times as long, or, once a chunk is stored, "
        "100 times as long as 8,192 rows have taken, where that is less (but never less than this). Below a minute a "
        "call that waits for a GPU or a disk is taken for a hung one.",
    )
    script_python: Path | None = Field(
        None,
        description="Interpreter that scripts' environments are made with; default our own, or, where scripts have "
        "users of their own who cannot reach that, the system's `python3`.",
    )
    script_folder: Path | None = Field(
        None,
        description="Folder for what scripts work in; default in DATA, or, where scripts have users of their own who "
        "cannot reach that, in `/var/tmp`.",
    )
    script_api: str | None = Field(
        None,
        pattern=r"^https?://[^/]+",
        description="Where scripts reach the API, `http://HOST:PORT`; default `public_url`, else the API's address on "
        "this machine.",
    )
    script_uids: str = Field(
        "2000000-2000999",
        pattern=r"^(\d{1,10}-\d{1,10})?$",
        description="User ids, `FIRST-LAST`, of which each script has one while it runs, where the node is root; "
        "empty: scripts run as root, which nothing keeps from anything.",
    )
    script_cgroup: Path | None = Field(
        None,
        description="A cgroup (v2) without processes of its own that is ours to make others in; default the node's, "
        "where that is delegated to it (systemd: `Delegate=yes`).",
    )
    script_processes: int = Field(512, gt=0, description="Processes and threads that one script may have at a time.")
    script_disk_mb: int = Field(
        10240, gt=0, description="What one script may write into its folders, MiB; looked at while it runs."
    )
    environment_timeout_s: float = Field(
        900, gt=0, description="Time limit for making the environment of a script's requirements."
    )
    max_attempts: int = Field(5, gt=0, description="Attempts of an operation before it ends failed.")

    allow_private_webhooks: bool | None = Field(
        None, description="Let webhooks reach loopback and private addresses; default: loopback only, when bound to it."
    )
    allow_private_sources: bool | None = Field(
        None,
        description="Let a `source_uri` be fetched from loopback and private addresses; default: loopback only, for a "
        "platform on SQLite that is bound to it and requires no token.",
    )
    source_timeout_s: float = Field(3600, gt=0, description="Time limit for fetching one `source_uri`.")
    file_roots: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Folders, `/srv/data,/srv/lake`, whose files a dataset may be made of by `file:///…`: all users "
        "can read all that is in them. Default none.",
    )
    source_buckets: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="What a dataset may be made of with this installation's own S3 keys, `BUCKET` or `BUCKET/PREFIX`, "
        "several with commas between; default nothing: a dataset brings its own keys.",
    )
    idempotency_hours: int = Field(24, ge=24, description="How long an Idempotency-Key is remembered.")
    prediction_hours: int = Field(24, gt=0, description="How long a finished prediction is kept.")
    file_hours: int = Field(24, gt=0, description="How long an uploaded file (`/api/v1/files`) is kept.")
    upload_hours: int = Field(24, gt=0, description="How long an upload in parts is kept that nobody goes on with.")
    run_days: int = Field(90, gt=0, description="How long a run that has ended is kept; what it made stays.")
    operation_days: int = Field(30, ge=30, description="How long a finished operation is kept.")
    event_days: int = Field(30, gt=0, description="How long an event is kept.")
    delivery_days: int = Field(30, gt=0, description="How long a finished webhook delivery is kept.")
    audit_days: int = Field(365, gt=0, description="How long the audit remembers who did what.")
    sample_hours: int = Field(
        1,
        gt=0,
        description="How long samples of predictions and processes are kept, from which a service's metrics are told.",
    )
    sample_s: float = Field(10, gt=0, description="How often gateways, workers and the node write such samples.")
    log_days: int = Field(
        7, gt=0, description="How long a log of a replica or a run is kept that nobody writes to any more."
    )
    blob_idle_s: float = Field(3600, gt=0, description="How long a blob that nothing refers to lives on, and a sixth.")
    sweep_s: float = Field(60, gt=0, description="How often the sweeper looks for what nobody needs any more.")

    failpoints: str | None = Field(
        None, description="For crash tests only: where to die, `after_claim=kill@3`, or `@FILE` that says so."
    )
    failpoints_log: Path | None = Field(None, description="The file that gets a line when a failpoint acts.")

    @field_validator("lanes", mode="before")
    @classmethod
    def _read_lanes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = (part.split("=", 1) for part in value.split(",") if part.strip())
        return {name.strip(): int(slots) for name, slots in pairs}

    @field_validator("cors_origins", "trusted_proxies", "file_roots", "source_buckets", mode="before")
    @classmethod
    def _read_list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _refuse_no_origin(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"{origin} is no origin: write https://app.example.com, without a path, or *")
        return value

    @field_validator("file_roots")
    @classmethod
    def _refuse_relative(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for folder in value:
            if not Path(folder).is_absolute():
                raise ValueError(f"{folder} is no absolute path: write /srv/data")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _read_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_network(each) for each in value)

    @field_validator("service_ports")
    @classmethod
    def _check_ports(cls, value: str) -> str:
        first, _, last = value.partition("-")
        if value and not 1 <= int(first) <= int(last) <= 65535:
            raise ValueError(f"{value} is no range of ports: write FIRST-LAST, both from 1 to 65535")
        return value

    @field_validator("script_uids")
    @classmethod
    def _check_uids(cls, value: str) -> str:
        first, _, last = value.partition("-")
        if value and not 1000 <= int(first) <= int(last) < 2**32 - 2:
            raise ValueError(f"{value} is no range of user ids: write FIRST-LAST, both from 1000 on")
        return value

    @field_validator("node_host")
    @classmethod
    def _refuse_wildcard(cls, value: str | None) -> str | None:
        if value in ("0.0.0.0", "::", "*"):  # noqa: S104  (what we refuse)
            raise ValueError(f"{value} is no address that others can reach: give the machine's own name or address")
        return value or None

    @property
    def port_range(self) -> range:
        """The ports of `service_ports`, from the lowest; empty where services may have none."""
        first, _, last = self.service_ports.partition("-")
        return range(int(first), int(last) + 1) if last else range(0)

    @property
    def uid_range(self) -> range:
        """The user ids of `script_uids`; empty where scripts have none of their own."""
        first, _, last = self.script_uids.partition("-")
        return range(int(first), int(last) + 1) if last else range(0)

    @property
    def database(self) -> str:
        """The database's URL, the default filled in."""
        return self.database_url or f"sqlite:///{self.data.absolute() / 'portside.db'}"

    @property
    def opens_private_sources(self) -> bool | None:
        """`allow_private_sources`, where nothing was said the default; None: loopback only, while bound to it.

        A process that shares its database may fetch what another one was asked for, and where tokens are asked for
        somebody else than this machine's owner may ask.
        """
        is_for_one = self.database.startswith("sqlite:") and not self.require_token
        return False if self.allow_private_sources is None and not is_for_one else self.allow_private_sources

    @property
    def artifacts(self) -> str:
        """The artifact store's URL, the default filled in."""
        return self.artifacts_url or f"file://{self.data.absolute() / 'artifacts'}"


def _network(text: str) -> str:
    """As the server reads it, which refuses a network with bits behind its prefix."""
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{text} is no address or network: write 10.0.0.7 or 10.0.0.0/8") from error
    return str(network) if "/" in text else text
